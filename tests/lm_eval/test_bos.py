"""The token that begins a text (BOS): the model reads exactly one, from the template or the server.

The server here does as vLLM does: it puts the token before every text unless ``add_special_tokens`` is false.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from evalkit.errors import RequestRejected
from evalkit.lm_eval.ask import How, ask, chat
from evalkit.model import Model
from evalkit.models import load
from tests.servers.in_thread import in_thread

BOS, PROMPT = "<s>", "What is 1+1? The sum is two and no more."
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that puts BOS before every text, with a chat template that writes BOS, too."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=[BOS, "</s>"], show_progress=False
    )
    made.train_from_iterator([PROMPT] * 4, trainer)
    made.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    folder = tmp_path_factory.mktemp("bos")
    whole = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=BOS, eos_token="</s>")
    whole.chat_template = TEMPLATE
    whole.save_pretrained(str(folder))
    return folder


class Server:
    """Echoes prompts with log-probabilities; ``read`` are the token ids that the model read."""

    def __init__(self, tokenizer: Path) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        self.obeys, self.url = True, ""
        self.read: list[list[int]] = []

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        special = not self.obeys or body.get("add_special_tokens", True)
        ids = self.tokenizer.encode(body["prompt"], add_special_tokens=special).ids
        self.read.append(ids)
        tokens = [self.tokenizer.decode([token], skip_special_tokens=False) for token in [*ids, 0]]
        values = [None, *(-1.0 for _ in ids)]
        tops = [None, *({token: -1.0} for token in tokens[1:])]
        logprobs = {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}
        choice = {"index": 0, "text": "", "finish_reason": "length", "logprobs": logprobs}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": len(ids)}})


@pytest.fixture
def server(tokenizer: Path) -> Iterator[Server]:
    server = Server(tokenizer)
    with in_thread([web.post("/v1/completions", server.complete)]) as server.url:
        yield server


async def asked(server: Server, kind: str, args: list[Any], tokenizer: Path, length: int = 512) -> Any:
    backend = load(f"openai:tiny@{server.url}")
    try:
        return (await ask(Model(backend), kind, args, How(str(tokenizer), length)))[0]
    finally:
        await backend.close()


def reference(tokenizer: Path, text: str) -> list[int]:
    """The tokens of a text as transformers reads it, without a token that the text does not hold."""
    from transformers import AutoTokenizer

    ids: list[int] = AutoTokenizer.from_pretrained(str(tokenizer))(text, add_special_tokens=False).input_ids
    return ids


async def test_a_chat_whose_template_writes_the_token_has_one(server: Server, tokenizer: Path) -> None:
    content = chat([{"role": "user", "content": "What is 1+1?"}]).content
    logprob, _ = await asked(server, "loglikelihood", [content, " two"], tokenizer)
    expected = reference(tokenizer, f"{BOS}<user>What is 1+1?<assistant> two")
    assert server.read == [expected]
    assert logprob == -len(reference(tokenizer, " two"))


async def test_a_whole_text_has_one_before_its_first_token_and_none_later(
    server: Server, tokenizer: Path
) -> None:
    ids = reference(tokenizer, PROMPT)
    assert await asked(server, "loglikelihood_rolling", [PROMPT], tokenizer) == -len(ids)
    assert server.read == [reference(tokenizer, BOS + PROMPT)]
    server.read.clear()
    length = len(ids) // 2 + 2  # two windows
    assert await asked(server, "loglikelihood_rolling", [PROMPT], tokenizer, length) == -len(ids)
    assert [BOS_ID in read for read in server.read] == [True, False]
    assert sum(read.count(BOS_ID) for read in server.read) == 1


BOS_ID = 0


async def test_a_plain_text_gets_the_servers_own(server: Server, tokenizer: Path) -> None:
    await asked(server, "loglikelihood", ["What is 1+1?", " two"], tokenizer)
    await asked(server, "loglikelihood", ["", "What is 1+1?"], tokenizer)
    expected = reference(tokenizer, f"{BOS}What is 1+1? two"), reference(tokenizer, f"{BOS}What is 1+1?")
    assert server.read == list(expected)


async def test_a_server_that_adds_a_second_one_all_the_same_is_refused(
    server: Server, tokenizer: Path
) -> None:
    server.obeys = False
    content = chat([{"role": "user", "content": "What is 1+1?"}]).content
    with pytest.raises(RequestRejected, match=r"before a text that begins with it: the model would read two"):
        await asked(server, "loglikelihood", [content, " two"], tokenizer)
