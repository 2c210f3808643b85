"""One request of lm-eval, sent to an evalkit model by the rules of lm-eval's own model classes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from evalkit.errors import RequestRejected, SetupError
from evalkit.extras import load
from evalkit.lm_eval.backend import LmEvalBackend
from evalkit.model import Model
from evalkit.types import Image, Message, Response, Text

# lm-eval's own defaults where neither the task nor the model has a value.
MAX_GEN_TOKS = 256
MAX_LENGTH = 2048

_LOADING = threading.Lock()

Chat = dict[str, Any]  # {"messages": [{"role", "content"}], "generation_prompt": bool}, instead of a text


@dataclass(frozen=True)
class How:
    """The settings of a request.

    ``tokenizer`` is a Hugging Face name or folder, for chat templates and texts without a context.
    ``max_length`` is the window, in tokens, in which a whole text is scored.
    """

    tokenizer: str | None = None
    max_length: int | None = None


def chat(history: list[dict[str, str]], add_generation_prompt: bool = True) -> ChatText:
    """Return a chat as messages; lm-eval calls this function as the model's chat template."""
    return ChatText({"messages": history, "generation_prompt": add_generation_prompt})


class ChatText(str):
    """A context that is a chat: a text for lm-eval, with the messages in ``content``."""

    content: Chat

    def __new__(cls, content: Chat) -> ChatText:
        text = super().__new__(cls, "\n".join(f"{m['role']}: {m['content']}" for m in content["messages"]))
        text.content = content
        return text


def rendered(history: list[dict[str, str]], add_generation_prompt: bool, tokenizer: str) -> str:
    """Return a chat as text by the tokenizer's template, as lm-eval renders a chat."""
    text: str = _tokenizer(tokenizer).apply_chat_template(
        history,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=not add_generation_prompt,
    )
    return text


async def ask(
    model: Model, kind: str, args: Sequence[Any], how: How, images: Sequence[Image] = ()
) -> tuple[Any, Response]:
    """Return the response in lm-eval's form (text, ``(logprob, is_greedy)``, or logprob), and as received.

    ``images`` are sent with ``generate_until``. Raises ``ModelError``; ``SetupError`` for a missing
    tokenizer.
    """
    if kind == "generate_until":
        response = await generate(model, args[0], args[1], images)
        return response.text, response
    if kind == "loglikelihood":
        response = await _loglikelihood(model, _text(model, args[0], how), args[1], how)
        if response.is_greedy is None:
            raise RequestRejected("the server does not report which tokens are the most probable")
        return (response.logprob, response.is_greedy), response
    if kind == "loglikelihood_rolling":
        return await _rolling(model, args[0], how)
    raise SetupError(f"lm-eval sent a request of the kind {kind!r}, which evalkit does not know")


async def generate(
    model: Model, context: str | Chat, gen_kwargs: Mapping[str, Any], images: Sequence[Image] = ()
) -> Response:
    """Generate a completion, or a reply where the context is a chat, with lm-eval's generation arguments.

    As in lm-eval, all ``images`` stand before the text of the last message, which keeps its placeholders.
    """
    extra = dict(gen_kwargs)
    until = extra.pop("until", None) or []
    max_tokens = extra.pop("max_tokens", None) or extra.pop("max_gen_toks", None)
    sampling: dict[str, Any] = {
        "max_tokens": int(max_tokens or model.defaults.get("max_tokens") or MAX_GEN_TOKS),
        "temperature": extra.pop("temperature", None),
        "stop": [until] if isinstance(until, str) else list(until),
        "top_p": extra.pop("top_p", None),
        "seed": extra.pop("seed", None),
    }
    if not native(model):
        extra.pop("do_sample", None)  # for a server, the temperature alone decides on sampling
    if isinstance(context, str):
        return await model.complete(context, **sampling, **extra)
    if backend := native(model):
        return await model.complete(backend.render(**context), **sampling, **extra)
    messages = [Message(m["role"], m["content"]) for m in context["messages"]]
    if images:
        last = messages.pop()
        messages.append(Message(last.role, (*images, Text(str(last.content)))))
    return await model.generate(messages, **sampling, **extra)


def native(model: Model) -> LmEvalBackend | None:
    """Return the model's backend where it is one of lm-eval's own models, which brings its tokenizer."""
    return model.adapter if isinstance(model.adapter, LmEvalBackend) else None


def _text(model: Model, context: str | Chat, how: How) -> str:
    if isinstance(context, str):
        return context
    if backend := native(model):
        return backend.render(**context)
    if how.tokenizer is not None:
        return rendered(context["messages"], context["generation_prompt"], how.tokenizer)
    raise SetupError(
        "log-likelihoods in a chat need the model's chat template: "
        "-p tokenizer=NAME (a Hugging Face name or a local folder)"
    )


async def _loglikelihood(model: Model, context: str, continuation: str, how: How) -> Response:
    extra: dict[str, Any] = {}
    if not native(model):
        # lm-eval's rule: blanks at the end of the context belong to the continuation.
        stripped = context.rstrip()
        context, continuation = stripped, context[len(stripped) :] + continuation
        if how.tokenizer is not None:
            tokenizer = await asyncio.to_thread(_tokenizer, how.tokenizer)
            context = context or tokenizer.prefix
            if tokenizer.begins(context):
                extra = _NO_SECOND_BOS
    (response,) = await model.loglikelihood(context, [continuation], **extra)
    return response


# The text holds the token that begins texts (BOS): a chat template wrote it. The server must not add another.
_NO_SECOND_BOS: dict[str, Any] = {"add_special_tokens": False}


async def _rolling(model: Model, text: str, how: How) -> tuple[float, Response]:
    """Return the log-probability of a whole text; one longer than the window is split by lm-eval's rule."""
    if native(model):
        response = await model.text_loglikelihood(text)
        return response.logprob, response
    if how.tokenizer is None:
        raise SetupError(
            "the log-probability of a whole text needs the token that begins texts: "
            "-p tokenizer=NAME (a Hugging Face name or a local folder)"
        )
    tokenizer = await asyncio.to_thread(_tokenizer, how.tokenizer)
    length = how.max_length or model.facts.max_context or MAX_LENGTH
    windows = tokenizer.windows(text, length)
    # A later window begins inside the text: nothing may stand before it.
    parts = [(await model.loglikelihood(b, [after], **_NO_SECOND_BOS))[0] for b, after in windows]
    logprobs = tuple(value for part in parts for value in part.logprobs or ())
    response = Response(text="", logprobs=logprobs, model=parts[0].model if parts else "")
    return sum(part.logprob for part in parts), response


class _Tokenizer:
    """A Hugging Face tokenizer with the functions that lm-eval's rules need."""

    def __init__(self, name: str) -> None:
        transformers = load("transformers", f"-p tokenizer={name}", "lm-eval")
        try:
            self._inner: Any = transformers.AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as problem:
            raise SetupError(f"-p tokenizer={name}: {problem}") from None
        self.apply_chat_template = self._inner.apply_chat_template

    @property
    def prefix(self) -> str:
        """The token before a text without a context: ``bos_token``, else ``eos_token``."""
        token = self._inner.bos_token or self._inner.eos_token
        if token is None:
            raise SetupError("the tokenizer has neither bos_token nor eos_token")
        return str(token)

    def begins(self, text: str) -> bool:
        """Return whether a text holds the token before all texts already: a chat template may write it."""
        token = self._inner.bos_token or self._inner.eos_token
        return token is not None and text.startswith(str(token))

    def windows(self, text: str, length: int) -> list[tuple[str, str]]:
        """Split a text into pairs of a context and a text to score; each token is scored once.

        Raises ``RequestRejected``.
        """
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        ids = self._inner(text, add_special_tokens=False).input_ids
        prefix = self._inner.convert_tokens_to_ids(self.prefix)
        # As in lm-eval's API models: one token is the context, one is generated by the server.
        rolled = get_rolling_token_windows(ids, prefix, max_seq_len=length - 2, context_len=1)
        pairs = [make_disjoint_window(pair) for pair in rolled]
        texts = [(self._inner.decode(before), self._inner.decode(after)) for before, after in pairs]
        if "".join(after for _, after in texts) != text:
            raise RequestRejected("the text cannot be split at its tokens without a change: raise max_length")
        return texts


def _tokenizer(name: str) -> Any:
    with _LOADING:  # transformers imports its modules at first use, which is not safe in several threads
        return _loaded(name)


@cache
def _loaded(name: str) -> Any:
    return _Tokenizer(name)
