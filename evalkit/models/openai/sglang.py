"""The adapter of SGLang servers: native generation, exact prompt log-probabilities, server facts."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from evalkit.errors import ProbeError, RequestRejected, ServerFailed
from evalkit.models.openai import logprobs_probe, wire
from evalkit.models.openai.backend import OpenAIBackend, check_continuation
from evalkit.models.openai.http_errors import raise_for
from evalkit.models.openai.label_scores import LabelScores
from evalkit.models.openai.prompt_logprobs import NO_CONTEXT, checked, decomposed
from evalkit.models.openai.server_load import load_of
from evalkit.models.openai.weights import weights_of
from evalkit.models.spec import ModelSpec
from evalkit.protocols import Load, RateLimits
from evalkit.types import Request, Response, ServerInfo, Usage
from evalkit.util.masking import excerpt

# Facts of /server_info that may change replies. They are picked by name, because the page also holds secrets.
_IDENTITY = (
    "chat_template",
    "completion_template",
    "default_chat_template_kwargs",
    "dtype",
    "kv_cache_dtype",
    "load_format",
    "lora_paths",
    "quantization",
    "reasoning_parser",
    "revision",
    "version",
)
# Facts that provenance records.
_SERVER = (
    "attention_backend",
    "chunked_prefill_size",
    "device",
    "dp_size",
    "enable_deterministic_inference",
    "enable_strict_thinking",
    "grammar_backend",
    "max_total_tokens",
    "random_seed",
    "sampling_backend",
    "schedule_policy",
    "speculative_algorithm",
    "tp_size",
)

# Positions of a border that are tried in one call.
_BATCH = 16


class SGLangBackend(OpenAIBackend):
    """``sglang:NAME[@URL]``: chat in OpenAI's format; prompts and scoring through SGLang's ``/generate``."""

    key_env = None
    default_url = "http://127.0.0.1:30000/v1"
    start_command = "python -m sglang.launch_server --model-path MODEL --port {port}"
    logprob_ways = ("native", "score")
    image_formats = ("png", "jpeg", "webp")

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._labels = LabelScores(self._score_labels) if spec.options.get("logprobs") == "score" else None

    def batches(self) -> None:
        """Return None: SGLang's server has no batch interface."""

    async def load(self, endpoint: str) -> Load | None:
        """Return how busy a server is."""
        return await load_of(self, endpoint)

    async def facts(self, url: str, entry: dict[str, Any]) -> ServerInfo:
        """Return the facts of the server at ``url``. Raises ``ProbeError`` if it would truncate silently."""
        root = _root(url)
        server = await self._info(root, "server_info")
        model = await self._info(root, "model_info")
        if server.get("allow_auto_truncate"):
            raise ProbeError(
                f"{root} runs with --allow-auto-truncate and would cut long prompts without an error. "
                "Start it without that option"
            )
        facts = {
            "provider": self.spec.provider,
            "model": entry["id"],
            "label": self.spec.options.get("label"),
            "context": entry.get("max_model_len"),
            **{name: server.get(name) for name in _IDENTITY},
            **weights_of(url, model.get("model_path") or entry.get("root"), entry, model),
        }
        load = await load_of(self, url)
        states = server.get("internal_states") or []
        by_rank = sum(state.get("effective_max_running_requests_per_dp") or 0 for state in states)
        max_running = (load and load.most) or server.get("max_running_requests") or by_rank or None
        return ServerInfo(
            {name: value for name, value in facts.items() if value is not None},
            entry.get("max_model_len"),
            max_running,
            {name: server[name] for name in _SERVER if server.get(name) is not None},
        )

    async def check_logprobs(self) -> None:
        """Check that prompt log-probabilities are those of generation. Raises ``ProbeError``."""
        await self.endpoints.call(self._check_native)

    async def _score(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        """Return the exact log-probabilities of a continuation's tokens."""
        check_continuation(request)
        start = time.perf_counter()
        context, continuation = request.prompt or "", request.continuation or ""
        special = request.extra.get("add_special_tokens", True) is not False
        context_ids, ids = await self._tokens(url, [context, context + continuation], special)
        first = await self._border(url, context_ids, ids, continuation)
        if first == 0:
            raise RequestRejected(NO_CONTEXT)
        if self._labels is not None and first == len(ids) - 1:
            value = await self._labels.logprob(ids[:first], ids[first])
            seconds = time.perf_counter() - start
            return Response(text="", model=self.model, logprobs=(value,), latency_s=seconds), {}
        meta = (await self._read(url, ids, first - 1))["meta_info"]
        rows, tops = meta["input_token_logprobs"][1:], meta["input_top_logprobs"][1:]
        if [row[1] for row in rows] != ids[first:]:
            raise ServerFailed(f"{url} returned log-probabilities of other tokens than it was sent")
        response = Response(
            text="",
            usage=_usage(meta),
            model=self.model,
            logprobs=checked([row[0] for row in rows], [row[2] or row[1] for row in rows]),
            is_greedy=all(row[1] == top[0][1] for row, top in zip(rows, tops, strict=True)),
            latency_s=time.perf_counter() - start,
        )
        return response, {}

    async def _score_labels(self, context: list[int], labels: list[int]) -> Any:
        """Return the probabilities of the tokens ``labels`` after ``context``, over the whole vocabulary."""
        payload = {"query": context[:-1], "items": [context[-1:]], "label_token_ids": labels}
        payload |= {"apply_softmax": False, "model": self.model}
        data, _ = await self.endpoints.call(lambda url: self.post(f"{url}/score", payload))
        return data

    async def _generate(self, url: str, request: Request) -> tuple[Response, RateLimits]:
        """Answer a chat in OpenAI's format; complete a plain prompt natively, without a chat template."""
        if self.uses_chat(request):
            return await super()._generate(url, request)
        start = time.perf_counter()
        payload = {"text": wire.plain_prompt(request), "sampling_params": _sampling(request)}
        data = await self._generate_native(url, payload)
        meta = data["meta_info"]
        response = wire.reply(
            {"finish_reason": meta.get("finish_reason")},
            {"content": data.get("text")},
            request,
            _usage(meta),
            model=self.model,
            latency_s=time.perf_counter() - start,
        )
        return response, {}

    async def _read(self, url: str, ids: list[int], start_len: int) -> dict[str, Any]:
        """Let the server read ``ids``; return its reply, with log-probabilities after ``start_len``."""
        return await self._generate_native(
            url,
            {
                "input_ids": ids,
                "sampling_params": {"max_new_tokens": 0, "temperature": 0.0},
                "return_logprob": True,
                "logprob_start_len": start_len,
                "top_logprobs_num": 1,
            },
        )

    async def _generate_native(self, url: str, payload: dict[str, Any]) -> dict[str, Any]:
        target = f"{_root(url)}/generate"
        data, _ = await self.post(target, payload)
        if not isinstance(data, dict) or not isinstance(data.get("meta_info"), dict):
            raise ServerFailed(f"{target} answered without meta_info: {excerpt(data)}")
        finish = data["meta_info"].get("finish_reason")
        if isinstance(finish, dict) and finish.get("type") == "abort":
            raise_for(int(finish.get("status_code") or 500), f"aborted: {finish.get('message')}", "", target)
        return data

    async def _tokens(self, url: str, texts: list[str], special: bool = True) -> list[list[int]]:
        """Return the tokens of texts, each with the token that begins a text unless ``special`` is False."""
        target = f"{url}/tokenize"
        payload = {"model": self.model, "prompt": texts, "add_special_tokens": special}
        data, _ = await self.post(target, payload)
        tokens = data.get("tokens") if isinstance(data, dict) else None
        if not isinstance(tokens, list) or len(tokens) != len(texts):
            raise ServerFailed(f"{target} answered without tokens: {excerpt(data)}")
        return tokens

    async def _border(self, url: str, context_ids: list[int], ids: list[int], continuation: str) -> int:
        """Return the index of the first of ``ids`` that holds a character of ``continuation``.

        Usually that is where the context's own tokens end. If the border lies inside a token, the two texts
        have different tokens around the border, and only the text of the tokens shows it.
        """
        if ids[: len(context_ids)] == context_ids and len(context_ids) < len(ids):
            return len(context_ids)
        shared = common_prefix(context_ids, ids)
        border: int | None = None
        for start in range(shared, len(ids), _BATCH):
            positions = range(start, min(start + _BATCH, len(ids)))
            payload = {"tokens": [ids[position:] for position in positions], "skip_special_tokens": False}
            data, _ = await self.post(f"{url}/detokenize", {"model": self.model, **payload})
            spelled = zip(positions, map(decomposed, data["text"]), strict=True)
            holding = [position for position, text in spelled if text.endswith(decomposed(continuation))]
            border = holding[-1] if holding else border
            if len(holding) < len(positions):
                break
        if border is None:
            raise RequestRejected(f"the server's tokens do not spell the continuation {continuation!r}")
        return border

    async def _check_native(self, url: str) -> None:
        (ids,) = await self._tokens(url, [logprobs_probe.PROBE_TEXT])
        meta = (await self._read(url, ids, 0))["meta_info"]
        rows, tops = meta.get("input_token_logprobs"), meta.get("input_top_logprobs")
        if not tops or len(tops) != len(ids) or [row[1] for row in rows or ()] != ids:
            logprobs_probe.raise_shifted(self)
        if self._labels is not None:
            label_logprob = await self._labels.logprob(ids[:-1], ids[-1])
            logprobs_probe.compare_best(self, rows[-1][0], label_logprob)
        for position in logprobs_probe.positions(len(ids)):
            written = await self._generate_native(
                url,
                {
                    "input_ids": ids[:position],
                    "sampling_params": {"max_new_tokens": 1, "temperature": 0.0},
                    "return_logprob": True,
                    "top_logprobs_num": 1,
                },
            )
            best = written["meta_info"]["output_top_logprobs"][0][0][0]
            logprobs_probe.compare_best(self, tops[position][0][0], best)

    async def _info(self, root: str, page: str) -> dict[str, Any]:
        """Return a page of facts under its new or its old name; empty if a router hides both."""
        data = await self.get_json(f"{root}/{page}") or await self.get_json(f"{root}/get_{page}")
        return data if isinstance(data, dict) else {}


def common_prefix(first: list[int], second: list[int]) -> int:
    """Return the number of leading tokens that two texts share."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))


def _sampling(request: Request) -> dict[str, Any]:
    """Return all native sampling parameters. The server refuses a misspelled ``extra``."""
    sampling: dict[str, Any] = {
        "max_new_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
    }
    if request.stop:
        sampling["stop"] = list(request.stop)
    if request.seed is not None:
        sampling["sampling_seed"] = request.seed
    if request.json_schema is not None:
        sampling["json_schema"] = msgspec.json.encode(request.json_schema).decode()
    if request.regex is not None:
        sampling["regex"] = request.regex
    return wire.with_extra(sampling, request.extra)


def _usage(meta: dict[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=meta.get("prompt_tokens") or 0,
        completion_tokens=meta.get("completion_tokens") or 0,
        cached_tokens=meta.get("cached_tokens") or 0,
        reasoning_tokens=meta.get("reasoning_tokens") or 0,
        image_tokens=meta.get("image_tokens"),
    )


def _root(url: str) -> str:
    return url.removesuffix("/v1")
