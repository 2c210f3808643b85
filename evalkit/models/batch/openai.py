"""OpenAI's batch interface: a file of requests, a job, and two files with replies and errors, in any order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from evalkit.errors import EvalkitError, RequestRejected, ServerFailed, SetupError
from evalkit.models.batch.jsonl import decoded_lines, multipart, problem_of
from evalkit.models.openai import wire
from evalkit.protocols import BatchResult, BatchService, BatchState
from evalkit.types import Request, Response

if TYPE_CHECKING:
    from evalkit.models.openai.backend import OpenAIBackend

_ENDED = ("completed", "failed", "expired", "cancelled")
_PAGE = 100  # jobs in a listing
_MOST_PAGES = 10


class OpenAIBatches(BatchService):
    """Batches of chats at OpenAI, or at a server with the same interface (files and batches)."""

    max_lines = 50_000
    max_bytes = 200_000_000

    def __init__(self, backend: OpenAIBackend) -> None:
        self._backend = backend
        self._url = backend.endpoints.urls[0]
        self.wait_s = backend.spec.options.get("batch_wait", self.wait_s)

    def line(self, key: str, request: Request) -> bytes:
        """Return a chat as a line. Raises ``RequestRejected`` for what is no chat."""
        body = self._backend.chat_payload(request)
        body.pop("stream", None)
        line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return msgspec.json.encode(line)

    async def submit(self, name: str, lines: Sequence[bytes]) -> str:
        """Upload the file, then create the job, with ``name`` in its metadata."""
        body, headers = multipart({"purpose": "batch"}, f"{name}.jsonl", lines)
        url = f"{self._url}/files"
        file = self._backend.decoded(await self._backend.transport.post_bytes(url, body, headers), url)
        payload = {
            "input_file_id": _id_of(file, "file"),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"evalkit": name},
        }
        job, _ = await self._backend.post(f"{self._url}/batches", payload)
        return _id_of(job, "batch")

    async def find(self, name: str, lines: int, since: float) -> str | None:
        """Look for ``name`` in the metadata of the newest jobs."""
        after = ""
        for _ in range(_MOST_PAGES):
            page = await self._backend.get_json(f"{self._url}/batches?limit={_PAGE}{after}", missing=())
            jobs = wire.part_of(page, "list").get("data") or []
            for job in jobs:
                if (job.get("metadata") or {}).get("evalkit") == name:
                    return _id_of(job, "batch")
            if not jobs or not page.get("has_more") or (jobs[-1].get("created_at") or since) < since - 3600:
                return None
            after = f"&after={_id_of(jobs[-1], 'batch')}"
        return None

    async def state(self, job: str) -> BatchState:
        """Return the state; a job that failed its validation is refused."""
        data = await self._job(job)
        word, counts = str(data.get("status")), data.get("request_counts") or {}
        errors = (data.get("errors") or {}).get("data") or []
        return BatchState(
            word,
            ended=word in _ENDED,
            done=(counts.get("completed") or 0) + (counts.get("failed") or 0),
            refused="; ".join(_error_text(error) for error in errors[:3]) or word if word == "failed" else "",
            too_much=any(error.get("code") == "token_limit_exceeded" for error in errors),
            cancelled=word == "cancelled",
        )

    async def results(self, job: str) -> AsyncIterator[BatchResult]:
        """Yield the lines of the output file, then those of the error file."""
        data = await self._job(job)
        for name in ("output_file_id", "error_file_id"):
            if file := data.get(name):
                url = f"{self._url}/files/{file}/content"
                async for line in decoded_lines(self._backend.transport, url):
                    yield self._result(line, url)

    def _result(self, line: Mapping[str, Any], url: str) -> BatchResult:
        key, reply, error = str(line.get("custom_id")), line.get("response") or {}, line.get("error")
        if error:
            return BatchResult(key, problem=_line_error(error))
        status, body = reply.get("status_code"), reply.get("body")
        if status == 200:
            return BatchResult(key, body)
        return BatchResult(key, problem=problem_of(status, body, url))

    async def cancel(self, job: str) -> None:
        """Cancel a job."""
        await self._backend.post(f"{self._url}/batches/{job}/cancel", {})

    def read(self, body: Any, request: Request) -> Response:
        """Return the response in the body of a chat completion."""
        with wire.reading(self._url):
            return self._backend.read(body, request)

    async def _job(self, job: str) -> dict[str, Any]:
        data = await self._backend.get_json(f"{self._url}/batches/{job}", missing=())
        if not isinstance(data, dict):
            raise ServerFailed(f"{self._url}/batches/{job} answered with no batch")
        return data


def _id_of(data: Any, what: str) -> str:
    if not isinstance(data, Mapping) or not isinstance(data.get("id"), str):
        raise ServerFailed(f"the server's reply to a new {what} has no id")
    return str(data["id"])


def _error_text(error: Mapping[str, Any]) -> str:
    where = f"line {error['line']}: " if error.get("line") else ""
    return f"{where}{error.get('message') or error.get('code')}"


def _line_error(error: Mapping[str, Any]) -> EvalkitError:
    """Return the problem of a line that was never asked."""
    code, message = str(error.get("code")), str(error.get("message"))
    if code == "batch_cancelled":
        return SetupError(
            "the batch job was cancelled. Stopped here: resume the run to ask for what is missing"
        )
    if code == "batch_expired":
        return ServerFailed(f"the line expired before the vendor came to it: {message}")
    if code in ("invalid_request", "invalid_request_error"):
        return RequestRejected(f"the vendor refused the line: {message}", status=400)
    return ServerFailed(f"the line failed at the vendor: {code}: {message}")
