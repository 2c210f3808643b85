"""The same tasks, the same model, lm-eval's own run and evalkit's: every digit of every score is the same."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lm_eval import parity, task_files


def differing(rows: list[Any]) -> list[Any]:
    assert rows
    return [row for row in rows if not row.equal]


@pytest.fixture(scope="module")
def compared(lab: SimpleNamespace) -> SimpleNamespace:
    """All setups by both harnesses, each against a server of its own that starts afresh: ``rows`` of scores,
    and what ``theirs`` and ``ours`` were asked."""
    tokenizer = ("-p", f"tokenizer={lab.tokenizer}")
    with lab.serve() as one, lab.serve() as other:
        served = parity.served(one.url, lab.tokenizer)
        spec = f"openai:tiny@{other.url}"
        rows = parity.both(lab.tasks, parity.setups(), served, spec, lab.folder, tokenizer)
    return SimpleNamespace(rows=rows, theirs=one.bodies, ours=other.bodies)


@pytest.fixture
def served_rows(compared: SimpleNamespace) -> list[Any]:
    rows: list[Any] = compared.rows
    return rows


def test_every_score_equals_lm_evals_own(served_rows: list[Any]) -> None:
    assert differing(served_rows) == []


def test_the_comparison_covers_all_kinds_of_scores(served_rows: list[Any]) -> None:
    tasks = {row.task for row in served_rows}
    metrics = {row.metric.partition(",")[0] for row in served_rows}
    assert len(tasks) >= 16
    assert metrics >= {
        "acc",
        "acc_norm",
        "acc_bytes",
        "acc_mutual_info",
        "exact_match",
        "f1",
        "mcc",
        "brier_score",
        "bleu",
        "chrf",
        "chrf++",
        "ter",
        "perplexity",
        "word_perplexity",
        "byte_perplexity",
        "bits_per_byte",
        "hit",
    }
    values = [row.theirs for row in served_rows]
    assert sum(0 < value < 1 for value in values) > len(values) / 2  # a model that is right now and then


def test_a_group_has_its_own_score_and_its_members(served_rows: list[Any]) -> None:
    group = {(row.task, row.metric) for row in served_rows if row.setup == "group"}
    assert group >= {("all_chosen", "acc,none"), ("inner", "acc,none"), ("c_yes_no", "f1,none")}


def test_pictures_arrive_as_lm_eval_sends_them(compared: SimpleNamespace) -> None:
    def shown(bodies: list[Any]) -> list[str]:
        """Every chat about pictures, with their places and bytes; the probe asks about others."""
        chats = [body["messages"] for body in bodies if "of these," in str(body.get("messages"))]
        said = [m["content"] for chat in chats for m in chat]
        for part in (part for parts in said if isinstance(parts, list) for part in parts):
            part.get("image_url", {}).pop("detail", None)  # lm-eval writes the default, "auto"
        return sorted(json.dumps(chat, sort_keys=True) for chat in chats)

    theirs, ours = shown(compared.theirs), shown(compared.ours)
    assert ours == theirs
    assert [chat.count("data:image/png;base64") for chat in ours].count(2) == 8  # of 16 + 16 chats
    assert len(ours) == 32


def test_the_documentation_shows_these_figures(served_rows: list[Any]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "lm-eval.md").read_text(encoding="utf-8")
    rows = [f"| {r.setup} | {r.task} | {r.metric} | {r.theirs!r} | {r.ours!r} |" for r in served_rows]
    table = page.partition("<!-- table: made by docs/make_lm_eval.py -->")[2].partition("<!--")[0]
    assert table.strip().splitlines()[2:] == rows  # otherwise: python -m docs.make_lm_eval


def test_a_local_model_scores_the_same_in_both(lab: SimpleNamespace, local_model: Path) -> None:
    tasks = ("g_filters", "c_three", "l_last_word", "r_prose")
    template = ("-p", "apply_chat_template=true")
    setups = [
        parity.Setup("local", tasks),
        parity.Setup("local, chat", tasks[:3], template, {"apply_chat_template": True}),
    ]
    model = {"model": "hf", "model_args": {"pretrained": str(local_model)}, "device": "cpu", "batch_size": 1}
    spec = f"lm_eval:hf?pretrained={local_model}"
    assert differing(parity.both(lab.tasks, setups, {False: model}, spec, lab.folder)) == []


def test_real_server_with_its_own_chat_template(lab: SimpleNamespace, llama_server: str) -> None:
    template = ("-p", "apply_chat_template=true")
    chat = {"apply_chat_template": True, "fewshot_as_multiturn": True}
    setups = [parity.Setup("llama.cpp", ("g_exact", "g_corpus"), template, chat, chat=True)]
    served = parity.served(f"{llama_server}/v1", lab.tokenizer)
    spec = f"openai:tiny@{llama_server}"
    assert differing(parity.both(lab.tasks, setups, served, spec, lab.folder)) == []


def test_real_server_that_sees(lab: SimpleNamespace, llava_server: str) -> None:
    template = ("-p", "apply_chat_template=true", "-p", "max_images=1")
    setups = [parity.Setup("LLaVA", ("v_colours",), template, {"apply_chat_template": True}, chat=True)]
    served = parity.served(f"{llava_server}/v1", lab.tokenizer)
    spec = f"openai:tiny@{llava_server}"
    rows = parity.both(lab.tasks, setups, served, spec, lab.folder)
    assert differing(rows) == []
    assert 0 < rows[0].theirs < 1  # it sees some of the colours


def test_real_data(lab: SimpleNamespace, data: Path) -> None:
    folder = lab.folder / "real"
    task_files.write_real(folder, data)
    setups = [parity.Setup("real data", parity.REAL)]
    tokenizer = ("-p", f"tokenizer={lab.tokenizer}")
    with lab.serve() as server:
        served = parity.served(server.url, lab.tokenizer)
        rows = parity.both(folder, setups, served, f"openai:tiny@{server.url}", lab.folder, tokenizer)
    assert differing(rows) == []
