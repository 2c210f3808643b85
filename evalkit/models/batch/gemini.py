"""Gemini's batch interface: an uploaded file of requests, a job (an operation), a file of replies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from evalkit.errors import ServerFailed
from evalkit.models.batch.http import HTTPBatches, counted, failed_line, text_of
from evalkit.models.openai import wire
from evalkit.models.openai.http_errors import fail
from evalkit.protocols import BatchResult, BatchState
from evalkit.types import Request
from evalkit.util.masking import mask_bytes

_ENDED = ("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
# Google's codes of errors as HTTP statuses: https://github.com/googleapis/googleapis, google/rpc/code.proto
_STATUS = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 11: 400, 12: 501, 13: 500, 14: 503, 16: 401}
_MOST_PAGES = 10  # of a listing of jobs


class GeminiBatches(HTTPBatches):
    """Batches of ``generateContent``, by file.

    The vendor takes files of 2 GB; evalkit sends smaller ones, as a file is in memory while it is sent.
    """

    max_lines = 100_000
    max_bytes = 200_000_000

    def line(self, key: str, request: Request) -> bytes:
        """Return a request as a line. Raises ``RequestRejected`` for what is no chat."""
        return msgspec.json.encode({"key": key, "request": self.body(request)})

    async def submit(self, name: str, lines: Sequence[bytes]) -> str:
        """Upload the file, then create the job, with ``name`` as its displayed name."""
        batch = {"displayName": name, "inputConfig": {"fileName": await self._upload(name, lines)}}
        url = self.backend.target(self.url).replace(":generateContent", ":batchGenerateContent")
        return text_of((await self.backend.post(url, {"batch": batch}))[0], "name")

    async def _upload(self, name: str, lines: Sequence[bytes]) -> str:
        """Upload a file in two steps and return its name, such as ``files/abc``."""
        root, _, version = self.url.rpartition("/")
        body, url, transport = b"\n".join(lines), f"{root}/upload/{version}/files", self.backend.transport
        start = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(len(body)),
            "X-Goog-Upload-Header-Content-Type": "application/jsonl",
        }
        begun = await transport.post_bytes(url, msgspec.json.encode({"file": {"displayName": name}}), start)
        if begun.status >= 400:
            fail(begun.status, begun.headers, mask_bytes(begun.body), url)
        if not (target := begun.headers.get("x-goog-upload-url")):
            raise ServerFailed(f"{url} named no address for the upload")
        there, own = urlsplit(target), urlsplit(url)  # the key goes to no other host
        target = own._replace(path=there.path, query=there.query).geturl()
        send = {"X-Goog-Upload-Offset": "0", "X-Goog-Upload-Command": "upload, finalize"}
        reply = self.backend.decoded(await transport.post_bytes(target, body, send), target)
        return text_of(wire.part_of(wire.part_of(reply, "reply").get("file"), "file"), "name")

    async def find(self, name: str, keys: Sequence[str], since: float, known: Collection[str]) -> str | None:
        """Look for the displayed ``name`` among the newest jobs."""
        token = ""
        for _ in range(_MOST_PAGES):
            page = await self.get(f"{self.url}/batches?pageSize=100{token}")
            for job in page.get("operations") or []:
                if _metadata(job).get("displayName") == name:
                    return text_of(job, "name")
            if not page.get("nextPageToken"):
                return None
            token = f"&pageToken={page['nextPageToken']}"
        return None

    async def state(self, job: str) -> BatchState:
        """Return the state. A job that failed for a reason within the vendor has lost its lines."""
        data = await self.get(f"{self.url}/{job}")
        metadata = _metadata(data)
        word = text_of(metadata, "state")
        stats = wire.part_of(metadata.get("batchStats"), "batchStats")
        plain = word.partition("_STATE_")[2]
        error = wire.part_of(data.get("error"), "error")
        status = _http_status(error)
        refused = plain == "FAILED" and 400 <= status < 500
        return BatchState(
            word,
            ended=plain in _ENDED,
            done=counted(stats, "successfulRequestCount", "failedRequestCount"),
            refused=str(error.get("message") or word) if refused else "",
            too_much=refused and status == 429,
            cancelled=plain == "CANCELLED",
        )

    async def results(self, job: str) -> AsyncIterator[BatchResult]:
        """Yield the lines of the file of replies; an expired job has none."""
        data = await self.get(f"{self.url}/{job}")
        outputs = (_metadata(data).get("output"), data.get("response"))
        files = [wire.part_of(output, "output").get("responsesFile") for output in outputs]
        if file := files[0] or files[1]:
            url = f"{self.url}/{file}:download?alt=media"
            async for line in self.lines(url):
                yield _result(line, url)

    async def cancel(self, job: str) -> None:
        """Cancel a job."""
        await self.backend.post(f"{self.url}/{job}:cancel", {})


def _metadata(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return wire.part_of(job.get("metadata"), "metadata")


def _http_status(error: Mapping[str, Any]) -> int:
    code = error.get("code")
    return code if isinstance(code, int) and code >= 400 else _STATUS.get(code or 13, 500)


def _result(line: Mapping[str, Any], url: str) -> BatchResult:
    key, error = str(line.get("key")), wire.part_of(line.get("error"), "error")
    if not error and line.get("response") is not None:
        return BatchResult(key, line["response"])
    return failed_line(key, _http_status(error), {"error": error}, url)
