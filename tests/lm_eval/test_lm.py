"""evalkit's models in lm-eval. That its own command finds them is tested with its result files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from tests.lm_eval import parity


def test_lm_eval_scores_a_served_model_through_evalkit(lab: SimpleNamespace, tmp_path: Path) -> None:
    texts = parity.Setup("texts", ("g_filters", "g_votes", "c_three", "l_last_word", "r_prose"))
    chats = parity.Setup("chat", ("g_exact", "v_colours"), lm_eval={"apply_chat_template": True}, chat=True)
    with lab.serve() as one, lab.serve() as other:
        arguments = {"spec": f"openai:tiny@{one.url}", "max_inflight": 1}
        arguments |= {"tokenizer": str(lab.tokenizer), "responses": str(tmp_path / "responses.db")}
        arguments |= {"max_images": 1}
        ours = {"model": "evalkit", "model_args": arguments}
        through = parity.theirs(lab.tasks, [texts, chats], {False: ours, True: ours}, tmp_path)
        direct = parity.theirs(lab.tasks, [texts, chats], parity.served(other.url, lab.tokenizer), tmp_path)
        messages = [body["messages"] for body in one.bodies if "messages" in body]
    assert [run["results"] for run in through] == [run["results"] for run in direct]
    # The server's template, not ours; and one picture's question without it, to see that the picture counts.
    assert len(messages) == 20 + 16 + 1
    assert messages[0][-1]["role"] == "user"
