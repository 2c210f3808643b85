"""One request of lm-eval, asked of an evalkit model: what its own model classes do, over our ``Model``."""

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

# lm-eval's own defaults where a task or a model says nothing.
MAX_GEN_TOKS = 256
MAX_LENGTH = 2048

_LOADING = threading.Lock()

Chat = dict[str, Any]  # {"messages": [{"role", "content"}], "generation_prompt": bool}, instead of a text


@dataclass(frozen=True)
class How:
    """``tokenizer``: a Hugging Face name or folder, for chat templates and texts without a context.
    ``max_length``: tokens that a text is cut into when it is scored whole."""

    tokenizer: str | None = None
    max_length: int | None = None


def chat(history: list[dict[str, str]], add_generation_prompt: bool = True) -> ChatText:
    """What lm-eval calls as a model's chat template: it keeps the messages as they are."""
    return ChatText({"messages": history, "generation_prompt": add_generation_prompt})


class ChatText(str):
    """A context that is a chat: for lm-eval a text, with the messages beside it."""

    content: Chat

    def __new__(cls, content: Chat) -> ChatText:
        made = super().__new__(cls, "\n".join(f"{m['role']}: {m['content']}" for m in content["messages"]))
        made.content = content
        return made


def rendered(history: list[dict[str, str]], add_generation_prompt: bool, tokenizer: str) -> str:
    """A chat as the tokenizer's template writes it, as lm-eval renders it."""
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
    """The response as lm-eval wants it (text, ``(logprob, is_greedy)``, or logprob), and the model's own.

    ``images`` go with what is generated. Raises ``ModelError``; ``SetupError`` where a tokenizer is needed.
    """
    if kind == "generate_until":
        response = await generate(model, args[0], args[1], images)
        return response.text, response
    if kind == "loglikelihood":
        response = await _loglikelihood(model, _text(model, args[0], how), args[1], how)
        if response.is_greedy is None:
            raise RequestRejected("the server does not say which tokens are the most probable ones")
        return (response.logprob, response.is_greedy), response
    if kind == "loglikelihood_rolling":
        return await _rolling(model, args[0], how)
    raise SetupError(f"lm-eval asks for {kind!r}, which evalkit does not know")


async def generate(
    model: Model, context: str | Chat, gen_kwargs: Mapping[str, Any], images: Sequence[Image] = ()
) -> Response:
    """A completion, or a reply where the context is a chat, under lm-eval's generation arguments.

    As lm-eval does, all ``images`` are put before the text of the last message, which keeps its placeholders.
    """
    rest = dict(gen_kwargs)
    until = rest.pop("until", None) or []
    asked = rest.pop("max_tokens", None) or rest.pop("max_gen_toks", None)
    given: dict[str, Any] = {
        "max_tokens": int(asked or model.defaults.get("max_tokens") or MAX_GEN_TOKS),
        "temperature": rest.pop("temperature", None),
        "stop": [until] if isinstance(until, str) else list(until),
        "top_p": rest.pop("top_p", None),
        "seed": rest.pop("seed", None),
    }
    if not native(model):
        rest.pop("do_sample", None)  # a server samples by temperature alone
    if isinstance(context, str):
        return await model.complete(context, **given, **rest)
    if own := native(model):
        return await model.complete(own.render(**context), **given, **rest)
    messages = [Message(m["role"], m["content"]) for m in context["messages"]]
    if images:
        last = messages.pop()
        messages.append(Message(last.role, (*images, Text(str(last.content)))))
    return await model.generate(messages, **given, **rest)


def native(model: Model) -> LmEvalBackend | None:
    """Return the adapter of one of lm-eval's own models, which knows its tokenizer and does all of this."""
    return model.adapter if isinstance(model.adapter, LmEvalBackend) else None


def _text(model: Model, context: str | Chat, how: How) -> str:
    if isinstance(context, str):
        return context
    if own := native(model):
        return own.render(**context)
    if how.tokenizer is not None:
        return rendered(context["messages"], context["generation_prompt"], how.tokenizer)
    raise SetupError(
        "log-likelihoods in a chat need the model's chat template: "
        "-p tokenizer=NAME (a Hugging Face name or a local folder)"
    )


async def _loglikelihood(model: Model, context: str, continuation: str, how: How) -> Response:
    if not native(model):
        # lm-eval's rule: blanks at the end of the context belong to the continuation's first word.
        stripped = context.rstrip()
        context, continuation = stripped, context[len(stripped) :] + continuation
        if not context and how.tokenizer is not None:
            context = (await asyncio.to_thread(_tokenizer, how.tokenizer)).prefix
    (response,) = await model.loglikelihood(context, [continuation])
    return response


async def _rolling(model: Model, text: str, how: How) -> tuple[float, Response]:
    """The log-probability of a whole text, cut as lm-eval cuts it where it is longer than the model takes."""
    if native(model):
        response = await model.text_loglikelihood(text)
        return response.logprob, response
    if how.tokenizer is None:
        raise SetupError(
            "the log-probability of a whole text needs the token that begins it: "
            "-p tokenizer=NAME (a Hugging Face name or a local folder)"
        )
    tokenizer = await asyncio.to_thread(_tokenizer, how.tokenizer)
    length = how.max_length or model.facts.max_context or MAX_LENGTH
    windows = tokenizer.windows(text, length)
    parts = [(await model.loglikelihood(before, [after]))[0] for before, after in windows]
    logprobs = tuple(value for part in parts for value in part.logprobs or ())
    whole = Response(text="", logprobs=logprobs, model=parts[0].model if parts else "")
    return sum(part.logprob for part in parts), whole


class _Tokenizer:
    """A Hugging Face tokenizer, as far as lm-eval's rules need one."""

    def __init__(self, name: str) -> None:
        transformers = load("transformers", f"-p tokenizer={name}", "lm-eval")
        try:
            self._inner: Any = transformers.AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as problem:
            raise SetupError(f"-p tokenizer={name}: {problem}") from None
        self.apply_chat_template = self._inner.apply_chat_template

    @property
    def prefix(self) -> str:
        """The token that stands before a text without a context: that which begins texts, or ends them."""
        token = self._inner.bos_token or self._inner.eos_token
        if token is None:
            raise SetupError("the tokenizer names neither a first nor a last token (bos_token, eos_token)")
        return str(token)

    def windows(self, text: str, length: int) -> list[tuple[str, str]]:
        """Texts to condition on and to score, each token scored once. Raises ``RequestRejected``."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        ids = self._inner(text, add_special_tokens=False).input_ids
        prefix = self._inner.convert_tokens_to_ids(self.prefix)
        # As lm-eval's models of served APIs: one token for the context, one that they let the server write.
        rolled = get_rolling_token_windows(ids, prefix, max_seq_len=length - 2, context_len=1)
        pairs = [make_disjoint_window(pair) for pair in rolled]
        found = [(self._inner.decode(before), self._inner.decode(after)) for before, after in pairs]
        if "".join(after for _, after in found) != text:
            raise RequestRejected(
                "the text cannot be cut at its tokens without changing it: raise max_length"
            )
        return found


def _tokenizer(name: str) -> Any:
    with _LOADING:  # transformers fills its modules as they are used: not from several threads at once
        return _loaded(name)


@cache
def _loaded(name: str) -> Any:
    return _Tokenizer(name)
