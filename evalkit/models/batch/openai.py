"""OpenAI's batch interface: a file of requests, a job, two files with replies and errors in any order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import msgspec

from evalkit.errors import RequestRejected, ServerFailed
from evalkit.models.batch.http import (
    HTTPBatches,
    cancelled_line,
    counted,
    expired_line,
    failed_line,
    multipart,
    text_of,
)
from evalkit.models.openai import wire
from evalkit.protocols import BatchResult, BatchState
from evalkit.types import Request

_ENDED = ("completed", "failed", "expired", "cancelled")
_PAGE, _MOST_PAGES = 100, 10  # of a listing of jobs


class OpenAIBatches(HTTPBatches):
    """Batches of chats or responses at OpenAI, or at a server with the same interface."""

    max_lines = 50_000
    max_bytes = 200_000_000

    @property
    def _target(self) -> str:
        """The interface that answers the lines, as the vendor's files name it."""
        return "/v1" + self.backend.target(self.url).removeprefix(self.url)

    def line(self, key: str, request: Request) -> bytes:
        """Return a request as a line. Raises ``RequestRejected`` for what is no chat."""
        body = self.body(request)
        body.pop("stream", None)
        return msgspec.json.encode({"custom_id": key, "method": "POST", "url": self._target, "body": body})

    async def submit(self, name: str, lines: Sequence[bytes]) -> str:
        """Upload the file, then create the job, with ``name`` in its metadata."""
        body, headers = multipart({"purpose": "batch"}, f"{name}.jsonl", lines)
        url = f"{self.url}/files"
        file = self.backend.decoded(await self.backend.transport.post_bytes(url, body, headers), url)
        payload = {
            "input_file_id": text_of(file, "id"),
            "endpoint": self._target,
            "completion_window": "24h",
            "metadata": {"evalkit": name},
        }
        return text_of((await self.backend.post(f"{self.url}/batches", payload))[0], "id")

    async def find(self, name: str, keys: Sequence[str], since: float, known: Collection[str]) -> str | None:
        """Look for ``name`` in the metadata of the newest jobs."""
        after = ""
        for _ in range(_MOST_PAGES):
            page = await self.get(f"{self.url}/batches?limit={_PAGE}{after}")
            jobs = page.get("data") or []
            for job in jobs:
                if (job.get("metadata") or {}).get("evalkit") == name:
                    return text_of(job, "id")
            if not page.get("has_more") or not jobs:
                return None
            after = f"&after={text_of(jobs[-1], 'id')}"
        return None

    async def state(self, job: str) -> BatchState:
        """Return the state; a job that failed its validation is refused."""
        data = await self.get(f"{self.url}/batches/{job}")
        word = text_of(data, "status")
        counts = wire.part_of(data.get("request_counts"), "request_counts")
        errors = wire.part_of(data.get("errors"), "errors").get("data") or []
        return BatchState(
            word,
            ended=word in _ENDED,
            done=counted(counts, "completed", "failed"),
            refused="; ".join(map(_error_text, errors[:3])) or word if word == "failed" else "",
            too_much=any(error.get("code") == "token_limit_exceeded" for error in errors),
            cancelled=word == "cancelled",
        )

    async def results(self, job: str) -> AsyncIterator[BatchResult]:
        """Yield the lines of the output file, then those of the error file."""
        data = await self.get(f"{self.url}/batches/{job}")
        for name in ("output_file_id", "error_file_id"):
            if file := data.get(name):
                url = f"{self.url}/files/{file}/content"
                async for line in self.lines(url):
                    yield _result(line, url)

    async def cancel(self, job: str) -> None:
        """Cancel a job."""
        await self.backend.post(f"{self.url}/batches/{job}/cancel", {})


def _result(line: Mapping[str, Any], url: str) -> BatchResult:
    key, error, reply = str(line.get("custom_id")), line.get("error"), line.get("response") or {}
    if error:
        return _never_asked(key, error)
    if reply.get("status_code") == 200 and reply.get("body") is not None:
        return BatchResult(key, reply["body"])
    return failed_line(key, reply.get("status_code"), reply.get("body"), url)


def _never_asked(key: str, error: Mapping[str, Any]) -> BatchResult:
    code, message = str(error.get("code")), str(error.get("message"))
    if code == "batch_cancelled":
        return cancelled_line(key)
    if code == "batch_expired":
        return expired_line(key)
    text = f"the line of the batch failed: {code}: {message}"
    refused = code.startswith("invalid")
    return BatchResult(key, problem=RequestRejected(text) if refused else ServerFailed(text))


def _error_text(error: Mapping[str, Any]) -> str:
    where = f"line {error['line']}: " if error.get("line") else ""
    return f"{where}{error.get('message') or error.get('code')}"
