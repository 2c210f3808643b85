"""Every evalkit model as a model of lm-eval: ``--model evalkit --model_args spec=openai:NAME@http://…``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import lm_eval.models  # noqa: F401 - lm-eval fills its registry only while nothing is in it: so first
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
    """Asks an evalkit model, with its adapters, retries, limits and response cache.

    ``spec`` is as for ``evalkit run --model``; ``tokenizer`` (a Hugging Face name or folder) is needed for
    log-likelihoods of whole texts and of chats; ``max_length``, ``max_images`` and ``max_inflight`` are as
    there; ``responses`` is the response cache's file.
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
        **_unused: Any,  # batch_size, max_batch_size and device, which lm-eval hands to every model
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
        """Texts, in the order of the requests."""
        return self._all("generate_until", requests)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Log-probabilities of continuations, and whether they are what greedy decoding gives."""
        return self._all("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-probabilities of whole texts."""
        return self._all("loglikelihood_rolling", requests)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> ChatText:
        """The messages themselves: the server applies its template, or ``ask`` the tokenizer's."""
        return chat(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The template is the server's own and not known here."""
        return ""

    def get_model_info(self) -> dict[str, Any]:
        """What the probe found out, for lm-eval's result file."""
        return {"model_name": self.name, "evalkit_facts": msgspec.to_builtins(self._model.facts)}

    def _all(self, kind: str, requests: list[Any]) -> list[Any]:
        return self._wait(self._gather(kind, requests))  # type: ignore[no-any-return]

    async def _gather(self, kind: str, requests: list[Any]) -> list[Any]:
        """All requests at once, as far as the limit lets them. The same one once more is a new draw."""
        seen: dict[int, int] = {}
        asked = []
        for request in requests:
            number = seen[id(request)] = seen.get(id(request), -1) + 1
            asked.append(self._one(self._model.draw(number), kind, request))
        return list(await asyncio.gather(*asked))

    async def _one(self, model: Model, kind: str, request: Any) -> Any:
        args = [a.content if isinstance(a, ChatText) else a for a in request.args]
        images = await asyncio.to_thread(pictures_of, kind, request.args, self._max_images)
        answer, _ = await ask(model, kind, args, self._how, images)
        return answer

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
