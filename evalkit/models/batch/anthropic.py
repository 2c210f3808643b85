"""Anthropic's batch interface: one request that holds all messages, and results by line, in any order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from evalkit.models.batch.http import HTTPBatches, cancelled_line, counted, expired_line, failed_line, text_of
from evalkit.models.openai import wire
from evalkit.protocols import BatchResult, BatchState
from evalkit.types import Request

_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_CLOCKS_DIFFER_S = 60.0  # between this machine and the vendor, at most
_FRAME = b'{"requests":[%b]}'


class AnthropicBatches(HTTPBatches):
    """Message Batches. They have no names: ``find`` goes by time, number of lines and the keys of results."""

    max_lines = 100_000
    max_bytes = 256_000_000 - len(_FRAME)

    def line(self, key: str, request: Request) -> bytes:
        """Return a request as an entry of the list. Raises ``RequestRejected`` for what is no chat."""
        return msgspec.json.encode({"custom_id": key, "params": self.body(request)})

    async def submit(self, name: str, lines: Sequence[bytes]) -> str:
        """Create the job."""
        body, url = _FRAME % b",".join(lines), self._jobs
        reply = await self.backend.transport.post_bytes(url, body, {})
        return text_of(self.backend.decoded(reply, url), "id")

    async def find(self, name: str, keys: Sequence[str], since: float, known: Collection[str]) -> str | None:
        """Return the first job from after ``since`` with as many lines; if it has ended, with these keys."""
        page = await self.get(f"{self._jobs}?limit=100")
        for job in reversed(page.get("data") or []):
            found, created = text_of(job, "id"), datetime.fromisoformat(text_of(job, "created_at"))
            counts = wire.part_of(job.get("request_counts"), "request_counts")
            fits = created.timestamp() > since - _CLOCKS_DIFFER_S and counted(counts, *counts) == len(keys)
            if found not in known and fits and await self._may_hold(job, set(keys)):
                return found
        return None

    async def _may_hold(self, job: Mapping[str, Any], keys: set[str]) -> bool:
        """Return False if a job has ended and its first result is of another request."""
        if job.get("processing_status") != "ended":
            return True
        async for result in self.results(text_of(job, "id")):
            return result.key in keys
        return False

    async def state(self, job: str) -> BatchState:
        """Return the state. The vendor counts lines as done only when the whole job has ended."""
        data = await self.get(f"{self._jobs}/{job}")
        word = text_of(data, "processing_status")
        counts = wire.part_of(data.get("request_counts"), "request_counts")
        done = counted(counts, *(counts.keys() - {"processing"}))
        return BatchState(word, word == "ended", done, cancelled=bool(data.get("cancel_initiated_at")))

    async def results(self, job: str) -> AsyncIterator[BatchResult]:
        """Yield the results."""
        url = f"{self._jobs}/{job}/results"  # not the job's results_url: the key must not go elsewhere
        async for line in self.lines(url):
            yield _result(str(line.get("custom_id")), wire.part_of(line.get("result"), "result"), url)

    async def cancel(self, job: str) -> None:
        """Cancel a job."""
        await self.backend.post(f"{self._jobs}/{job}/cancel", {})

    @property
    def _jobs(self) -> str:
        return f"{self.url}/messages/batches"


def _result(key: str, result: Mapping[str, Any], url: str) -> BatchResult:
    match result.get("type"):
        case "succeeded":
            return BatchResult(key, result.get("message") or {})
        case "expired":
            return expired_line(key)
        case "canceled":
            return cancelled_line(key)
    error = wire.part_of(result.get("error"), "error")
    kind = wire.part_of(error.get("error"), "error").get("type")
    return failed_line(key, _STATUS.get(str(kind), 500), error, url)
