"""lm-eval's models in this process: ``lm_eval:hf?pretrained=PATH``. One thread runs a model, in batches."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import inspect
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.errors import ProbeError, RequestRejected, UsageError, did_you_mean
from evalkit.extras import load
from evalkit.models.spec import ModelSpec
from evalkit.protocols import Backend, BackendTraits, ProbeResult
from evalkit.types import Request, Requirements, Response, ServerInfo
from evalkit.util.boundary import reason

MOST_IN_FLIGHT = 256
_Waiting = tuple[str, tuple[Any, ...], "asyncio.Future[Any]"]


class LmEvalBackend(Backend):
    """A model of lm-eval: ``lm_eval:NAME?argument=value`` with a NAME of lm-eval's ``--model``.

    The arguments are those of ``--model_args``, and ``batch_size`` and ``device``. Requests that come while a
    batch runs form the next batch. lm-eval's own classes split a batch by ``batch_size``.
    """

    def __init__(self, spec: ModelSpec) -> None:
        if spec.urls:
            raise UsageError(f"{spec.display} runs in this process and takes no URL. Use openai: or sglang:")
        weights = spec.extra.get("pretrained") or spec.extra.get("model")
        self.name = f"{spec.display}:{_short(weights)}" if weights else spec.display
        self.spec = spec
        most = spec.options.get("max_inflight") or MOST_IN_FLIGHT
        self.traits = BackendTraits(max_inflight=most, defaults=dict(spec.generation))
        self._lm: Any = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="lm-eval")
        self._waiting: list[_Waiting] = []
        self._runner: asyncio.Task[None] | None = None

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Load the model. Raises ``ProbeError``, ``UsageError``."""
        if needs.images or needs.json_schema or needs.regex or needs.tools:
            raise ProbeError(f"{self.name}: models of lm-eval take only text, and no schema or regex")
        await self._in_thread(self._load)
        info = ServerInfo(self._identity(), getattr(self._lm, "max_length", None))
        return ProbeResult(self.name, info, self.traits)

    async def send(self, request: Request) -> Response:
        """Answer one request, in a batch with others. Raises ``RequestRejected``."""
        if self._lm is None:
            await self._in_thread(self._load)
        start = time.perf_counter()
        kind, args = self._as_instance(request)
        result = await self._ask(kind, args)
        fields: dict[str, Any] = {"model": self.name, "latency_s": time.perf_counter() - start}
        if kind == "generate_until":
            return Response(text=result, **fields)
        logprob, greedy = result if kind == "loglikelihood" else (result, None)
        return Response(text="", logprobs=(float(logprob),), is_greedy=greedy, **fields)

    async def close(self) -> None:
        """Release the model."""
        if self._runner is not None:
            self._runner.cancel()
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._lm = None

    def render(self, messages: list[dict[str, str]], generation_prompt: bool = True) -> str:
        """Return a chat as text by the model's template. Raises ``RequestRejected`` without a template."""
        try:
            text: str = self._lm.apply_chat_template(messages, add_generation_prompt=generation_prompt)
        except (NotImplementedError, AttributeError, ValueError) as problem:
            raise RequestRejected(f"{self.name} has no chat template: {problem}") from None
        return text

    def _as_instance(self, request: Request) -> tuple[str, tuple[Any, ...]]:
        """Return lm-eval's kind of a request, and the arguments."""
        if request.continuation is not None:
            if request.prompt is None:
                return "loglikelihood_rolling", (request.continuation,)
            return "loglikelihood", (request.prompt, request.continuation)
        generation = {
            "until": list(request.stop),
            "max_gen_toks": request.max_tokens,
            "temperature": request.temperature,
            "do_sample": request.temperature > 0,
            **({"top_p": request.top_p} if request.top_p != 1.0 else {}),
            **request.extra,
        }
        return "generate_until", (self._prompt(request), generation)

    def _prompt(self, request: Request) -> str:
        if request.prompt is not None:
            return request.prompt
        if any(not isinstance(message.content, str) for message in request.messages):
            raise RequestRejected(f"{self.name} takes only text")
        if request.has_tools:
            raise RequestRejected(f"{self.name} takes no tools")
        return self.render([{"role": m.role, "content": str(m.content)} for m in request.messages])

    async def _ask(self, kind: str, args: tuple[Any, ...]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((kind, args, future))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        """Answer the waiting requests in batches of one kind, until none waits."""
        while self._waiting:
            await asyncio.sleep(0)  # requests made at the same moment join the batch
            kind = self._waiting[0][0]
            batch = [request for request in self._waiting if request[0] == kind]
            self._waiting = [request for request in self._waiting if request[0] != kind]
            try:
                work = partial(self._batch, kind, [args for _, args, _ in batch])
                results = await self._in_thread(work)
            except BaseException as problem:  # noqa: BLE001 - the model's code may raise anything
                results = [RequestRejected(f"{self.name}: {reason(problem)}")] * len(batch)
            for (_, _, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, RequestRejected):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _batch(self, kind: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        from lm_eval.api.instance import Instance

        instances = [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]
        results: list[Any] = getattr(self._lm, kind)(instances, disable_tqdm=True)
        return results

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _load(self) -> None:
        if self._lm is not None:
            return
        models = load("lm_eval.models", "a model of lm-eval", "lm-eval")
        from lm_eval.api.registry import model_registry
        from lm_eval.utils import handle_arg_string

        known = list(models.MODEL_MAPPING)
        if self.spec.name not in model_registry:
            raise UsageError(
                f"lm-eval has no model {self.spec.name!r}.{did_you_mean(self.spec.name, known)} "
                f"Known: {', '.join(known)}"
            )
        arguments = {name: handle_arg_string(value) for name, value in self.spec.extra.items()}
        try:
            model_class = model_registry.get(self.spec.name)
            accepted = inspect.signature(model_class.__init__).parameters
            if "device" in accepted and "device" not in arguments and not _has_gpu():
                arguments["device"] = "cpu"  # lm-eval's default is cuda, even without a GPU
            arguments.setdefault("batch_size", 1)
            self._lm = model_class.create_from_arg_obj(arguments)
        except BaseException as problem:  # loading runs the model's code, which may raise anything
            raise ProbeError(f"{self.name} cannot be loaded: {reason(problem)}") from problem

    def _identity(self) -> dict[str, Any]:
        """Return the model's class, its arguments, lm-eval's version, and the files of a local model."""
        info = self._lm.get_model_info() if hasattr(self._lm, "get_model_info") else {}
        folders = [Path(v) for v in self.spec.extra.values() if isinstance(v, str) and Path(v).is_dir()]
        return {
            "provider": "lm_eval",
            "model": self.spec.name,
            "arguments": dict(self.spec.extra),
            "lm_eval": importlib.metadata.version("lm_eval"),
            **{name: value for name, value in info.items() if isinstance(value, str | int)},
            **({"files": [_fingerprint(folder) for folder in folders]} if folders else {}),
        }


def _short(name: str) -> str:
    path = Path(name)
    return path.name if path.is_dir() else name


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available() or torch.backends.mps.is_available())


def _fingerprint(folder: Path) -> str:
    """Return a digest of the names, sizes and times of a folder's files: hashing weights takes too long."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        stat = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
