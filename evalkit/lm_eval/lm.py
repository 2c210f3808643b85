"""Evalkit's models as a model of lm-eval: ``--model evalkit --model_args spec=openai:NAME@http://…``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import lm_eval.models  # noqa: F401 - must come first: lm-eval fills its registry only while the registry is empty
import msgspec
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from evalkit.lm_eval.ask import ChatText, How, ask, chat
from evalkit.lm_eval.pictures import pictures_of
from evalkit.model import Model
from evalkit.models.connect import connect
from evalkit.types import Requirements
from evalkit.util.paths import cache_dir


@register_model("evalkit")
class EvalkitLM(LM):  # type: ignore[misc]
    """A model of lm-eval that asks an evalkit model, with retries, limits and the response cache.

    ``spec``, ``max_length``, ``max_images`` and ``max_inflight`` are as for ``evalkit run``. ``tokenizer`` (a
    Hugging Face name or folder) is needed for log-likelihoods of whole texts and of chats. ``responses`` is
    the file of the response cache.
    """

    MULTIMODAL = True
    tokenizer_name = ""

    def __init__(
        self,
        spec: str,
        tokenizer: str | None = None,
        max_length: int | None = None,
        max_images: int | None = None,
        max_inflight: int | None = None,
        responses: str | None = None,
        **_unused: Any,  # batch_size, max_batch_size and device, which lm-eval passes to every model
    ) -> None:
        super().__init__()
        self._how, self._max_images = How(tokenizer, max_length), max_images
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="evalkit", daemon=True).start()
        self._stack = AsyncExitStack()
        path = Path(responses) if responses else cache_dir() / "responses.db"
        connected = connect(str(spec), Requirements(), path, stop=asyncio.Event(), max_inflight=max_inflight)
        self.name, self._model = self._wait(self._stack.enter_async_context(connected))

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the texts, in the order of the requests."""
        return self._all("generate_until", requests)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return the log-probabilities of continuations, and whether greedy decoding gives them."""
        return self._all("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-probabilities of whole texts."""
        return self._all("loglikelihood_rolling", requests)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> ChatText:
        """Return the messages: the server applies its template, or ``ask`` applies the tokenizer's."""
        return chat(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return an empty text: the server's template is not known here."""
        return ""

    def get_model_info(self) -> dict[str, Any]:
        """Return the result of the probe, for lm-eval's result file."""
        return {"model_name": self.name, "evalkit_facts": msgspec.to_builtins(self._model.facts)}

    def _all(self, kind: str, requests: list[Any]) -> list[Any]:
        return self._wait(self._answer_all(kind, requests))  # type: ignore[no-any-return]

    async def _answer_all(self, kind: str, requests: list[Any]) -> list[Any]:
        """Answer all requests at the same time, within the limits. A repeated request is a new draw."""
        seen: dict[int, int] = {}
        answers = []
        for request in requests:
            number = seen[id(request)] = seen.get(id(request), -1) + 1
            answers.append(self._answer(self._model.draw(number), kind, request))
        return list(await asyncio.gather(*answers))

    async def _answer(self, model: Model, kind: str, request: Any) -> Any:
        args = [a.content if isinstance(a, ChatText) else a for a in request.args]
        images = await asyncio.to_thread(pictures_of, kind, request.args, self._max_images)
        answer, _ = await ask(model, kind, args, self._how, images)
        return answer

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
