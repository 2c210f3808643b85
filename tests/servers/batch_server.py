"""Batch interfaces as OpenAI, Anthropic and Google document them, in a thread, with faults on demand.

Replies are built from the types of the vendors' official SDKs, and jobs that come in are validated against
them. ``paid`` counts the lines that were answered, by their question.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter

from tests.servers.batch_lines import (
    Outcome,
    anthropic_line,
    anthropic_message,
    chat_completion,
    gemini_line,
    gemini_reply,
    openai_line,
    response,
)
from tests.servers.in_thread import in_thread


@dataclass
class Job:
    """A job: its lines by key, how often its state was asked for, and its outcomes once it has ended."""

    id: str
    name: str
    lines: list[tuple[str, dict[str, Any]]]
    endpoint: str = ""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    looks: int = 0
    canceled: bool = False
    refused: str = ""
    outcomes: list[tuple[str, Outcome]] | None = None

    def count(self, kind: str) -> int:
        return sum(1 for _, outcome in self.outcomes or () if outcome[0] == kind)


@dataclass
class BatchServer:
    """The server. Its switches:

    - ``held``: jobs stay in progress. ``looks``: how often a state is asked for until the job has ended.
    - ``outcome(question, times)``: how a line ends, when its question has been in ``times`` jobs.
    - ``loses(question, times)``: its line is in no result. ``doubles``, ``shuffles``: of all results.
    - ``garbles``: a broken line is among the results. ``breaks_off``: how many downloads end half-way;
      ``cuts``: how many do so without a sign of it. ``pages``: how many are a proxy's page.
    - ``unclear``: how many states are no state of a job.
    - ``refuses``: the job fails its validation with this code and message.
    - ``vanishes(job)``: the job is not known any more once it has ended.
    - ``busy``: the number of submissions that get 429. ``hangs_up``: of those that get no reply.
    - ``at_most``: the most lines that may wait at the same time.
    """

    url: str = ""
    held: bool = False
    looks: int = 2
    outcome: Callable[[str, int], Outcome] = lambda question, times: ("ok", "yes")
    loses: Callable[[str, int], bool] = lambda question, times: False
    doubles: bool = False
    shuffles: bool = False
    garbles: bool = False
    breaks_off: int = 0
    cuts: int = 0
    pages: int = 0
    unclear: int = 0
    refuses: tuple[str, str] | None = None
    vanishes: Callable[[Job], bool] = lambda job: False
    busy: int = 0
    hangs_up: int = 0
    at_most: int | None = None

    def __post_init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.files: dict[str, bytes] = {}
        self.sent: Counter[str] = Counter()  # lines that came in, by question
        self.paid: Counter[str] = Counter()
        self.chats = 0  # asked by the ordinary interface
        self.seen: list[tuple[str, str, Any]] = []  # method, path and body of what came about jobs

    # --- What all vendors share ---

    def submit(self, job: Job) -> Job:
        if self.busy:
            self.busy -= 1
            raise web.HTTPTooManyRequests(
                text='{"error": {"message": "slow down", "type": "rate_limit_error"}}'
            )
        waiting = sum(len(other.lines) for other in self.jobs.values() if not self._ended(other))
        if self.refuses:
            job.refused = ": ".join(self.refuses)
        elif self.at_most is not None and waiting + len(job.lines) > self.at_most:
            job.refused = "token_limit_exceeded: Enqueued token limit reached"
        self.jobs[job.id] = job
        self.sent.update(question_of(body) for _, body in job.lines)
        return job

    def look(self, name: str) -> Job:
        job = self.jobs.get(name)
        if job is None or (self._ended(job) and self.vanishes(job)):
            raise web.HTTPNotFound(text='{"error": {"message": "no such batch", "type": "not_found_error"}}')
        job.looks += 1
        if job.looks > self.looks and not self.held and not self._ended(job):
            self._end(job)
        return job

    def _ended(self, job: Job) -> bool:
        return bool(job.refused) or job.outcomes is not None

    def _end(self, job: Job) -> None:
        outcomes = []
        for key, body in job.lines:
            question = question_of(body)
            outcome = self.outcome(question, self.sent[question]) if not job.canceled else ("canceled", None)
            if outcome[0] == "ok":
                self.paid[question] += 1
            if not self.loses(question, self.sent[question]):
                outcomes.append((key, outcome))
        job.outcomes = outcomes

    def listed(self, lines: list[dict[str, Any]]) -> bytes:
        """Return results as a file, with the faults that are switched on."""
        rows = [json.dumps(line) for line in lines]
        if self.doubles:
            rows += rows
        if self.shuffles:
            random.Random(0).shuffle(rows)
        if self.garbles and rows:
            rows.insert(len(rows) // 2, '{"custom_id": "' + "\x00")
        return "\n".join(rows).encode()

    async def download(self, request: web.Request, data: bytes) -> web.StreamResponse:
        if self.pages:
            self.pages -= 1
            return web.Response(text="<html>Please log in</html>", content_type="text/html")
        if self.cuts:
            self.cuts -= 1
            return web.Response(body=data[: len(data) // 2])
        if not self.breaks_off:
            return web.Response(body=data)
        self.breaks_off -= 1
        reply = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await reply.prepare(request)
        await reply.write(data[: len(data) // 2])
        await asyncio.sleep(0.05)
        request.transport.close()
        return reply

    def hang_up(self, request: web.Request) -> None:
        if self.hangs_up:
            self.hangs_up -= 1
            request.transport.close()

    # --- OpenAI ---

    async def models(self, request: web.Request) -> web.Response:
        entries = [{"id": "tiny", "object": "model", "created": 0, "owned_by": "us"}]
        return web.json_response({"object": "list", "data": entries})

    async def chat(self, request: web.Request) -> web.Response:
        """Answer a chat of any vendor's ordinary interface, as a probe asks one."""
        self.chats += 1
        if request.path.endswith("/responses"):
            return web.json_response(response("yes"))
        if request.path.endswith("/messages"):
            return web.json_response(anthropic_message("yes").model_dump(mode="json"))
        if request.path.endswith(":generateContent"):
            return web.json_response(gemini_reply("yes"))
        return web.json_response(chat_completion("yes"))

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()
        return web.json_response({"id": name, "object": "file", "purpose": "batch"})

    async def create(self, request: web.Request) -> web.Response:
        from openai.types.batch_create_params import BatchCreateParams

        body = adapter(BatchCreateParams).validate_python(await self._read(request))
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        assert {(line["method"], line["url"]) for line in lines} == {("POST", body["endpoint"])}
        assert len({line["custom_id"] for line in lines}) == len(lines)
        rows = [(line["custom_id"], line["body"]) for line in lines]
        job = self.submit(Job(f"batch_{len(self.jobs)}", body["metadata"]["evalkit"], rows, body["endpoint"]))
        self.hang_up(request)
        return web.json_response(self._openai(job))

    async def jobs_page(self, request: web.Request) -> web.Response:
        newest = [self._openai(job) for job in reversed(self.jobs.values())]
        start = next((i + 1 for i, job in enumerate(newest) if job["id"] == request.query.get("after")), 0)
        page = newest[start : start + int(request.query["limit"])]
        return web.json_response(
            {"object": "list", "data": page, "has_more": start + len(page) < len(newest)}
        )

    async def state(self, request: web.Request) -> web.Response:
        if self.unclear:
            self.unclear -= 1
            return web.json_response({"id": "batch_0", "request_counts": [1]})
        return web.json_response(self._openai(self.look(request.match_info["job"])))

    async def cancel(self, request: web.Request) -> web.Response:
        return web.json_response(self._openai(self._canceled(request.match_info["job"])))

    def _openai(self, job: Job) -> dict[str, Any]:
        from openai.types import Batch

        done = job.count("ok") if job.outcomes is not None else 0
        failed = job.count("error") + job.count("expired")
        status = ["validating", "in_progress", "finalizing"][min(job.looks, 2)]
        if job.outcomes is not None:
            status = "cancelled" if job.canceled else "expired" if job.count("expired") else "completed"
        code, _, message = job.refused.partition(": ")
        batch = Batch(
            id=job.id,
            object="batch",
            completion_window="24h",
            created_at=int(job.created.timestamp()),
            endpoint=job.endpoint,
            input_file_id="file-0",
            status="failed" if job.refused else status,
            errors={"object": "list", "data": [{"code": code, "message": message}]} if job.refused else None,
            metadata={"evalkit": job.name},
            output_file_id=f"{job.id}-output" if done else None,
            error_file_id=f"{job.id}-error" if failed or job.canceled else None,
            request_counts={"completed": done, "failed": failed, "total": len(job.lines)},
        )
        return batch.model_dump(mode="json")

    async def content(self, request: web.Request) -> web.StreamResponse:
        name, _, kind = request.match_info["file"].rpartition("-")
        outcomes = self.jobs[name].outcomes or []
        lines = [
            openai_line(key, outcome, self.jobs[name].endpoint)
            for key, outcome in outcomes
            if (outcome[0] == "ok") == (kind == "output")
        ]
        return await self.download(request, self.listed(lines))

    # --- Anthropic ---

    async def create_messages(self, request: web.Request) -> web.Response:
        from anthropic.types.messages.batch_create_params import BatchCreateParams

        body = await self._read(request)
        checked = adapter(BatchCreateParams).validate_python(body)
        for line in checked["requests"]:  # an iterable is validated while it is read
            assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", line["custom_id"])
        rows = [(line["custom_id"], line["params"]) for line in body["requests"]]
        job = self.submit(Job(f"msgbatch_{len(self.jobs)}", "", rows))
        self.hang_up(request)
        return web.json_response(self._anthropic(job))

    async def messages_page(self, request: web.Request) -> web.Response:
        newest = [self._anthropic(job) for job in reversed(self.jobs.values())]
        return web.json_response({"data": newest, "has_more": False, "first_id": None, "last_id": None})

    async def messages_state(self, request: web.Request) -> web.Response:
        return web.json_response(self._anthropic(self.look(request.match_info["job"])))

    async def messages_results(self, request: web.Request) -> web.StreamResponse:
        lines = [
            anthropic_line(key, outcome)
            for key, outcome in self.look(request.match_info["job"]).outcomes or ()
        ]
        return await self.download(request, self.listed(lines))

    async def messages_cancel(self, request: web.Request) -> web.Response:
        return web.json_response(self._anthropic(self._canceled(request.match_info["job"])))

    def _anthropic(self, job: Job) -> dict[str, Any]:
        from anthropic.types.messages import MessageBatch

        ended = job.outcomes is not None
        kinds = {"succeeded": "ok", "errored": "error", "expired": "expired", "canceled": "canceled"}
        counts = {word: job.count(kind) for word, kind in kinds.items()}
        batch = MessageBatch(
            id=job.id,
            type="message_batch",
            processing_status="ended" if ended else "canceling" if job.canceled else "in_progress",
            request_counts={**counts, "processing": len(job.lines) - sum(counts.values())},
            created_at=job.created,
            expires_at=job.created,
            cancel_initiated_at=job.created if job.canceled else None,
            results_url=f"{self.url}/v1/messages/batches/{job.id}/results" if ended else None,
        )
        return batch.model_dump(mode="json")

    # --- Gemini ---

    async def gemini_model(self, request: web.Request) -> web.Response:
        return web.json_response({"name": f"models/{request.match_info['name']}", "version": "1"})

    async def start_upload(self, request: web.Request) -> web.Response:
        headers = request.headers
        assert headers["X-Goog-Upload-Protocol"] == "resumable"
        assert headers["X-Goog-Upload-Command"] == "start"
        assert headers["X-Goog-Upload-Header-Content-Type"] == "application/jsonl"
        there = f"{self.url}/upload/v1beta/files?upload_id={headers['X-Goog-Upload-Header-Content-Length']}"
        return web.Response(headers={"X-Goog-Upload-URL": there, "X-Goog-Upload-Status": "active"})

    async def upload_bytes(self, request: web.Request) -> web.Response:
        if "upload_id" not in request.query:
            return await self.start_upload(request)
        assert request.headers["X-Goog-Upload-Command"] == "upload, finalize"
        data = await request.read()
        assert len(data) == int(request.query["upload_id"])
        name = f"files/in{len(self.files)}"
        self.files[name] = data
        return web.json_response({"file": {"name": name}}, headers={"X-Goog-Upload-Status": "final"})

    async def create_content(self, request: web.Request) -> web.Response:
        batch = (await self._read(request))["batch"]
        lines = [json.loads(line) for line in self.files[batch["inputConfig"]["fileName"]].splitlines()]
        rows = [(line["key"], line["request"]) for line in lines]
        job = self.submit(Job(f"batches/{len(self.jobs)}", batch["displayName"], rows))
        self.hang_up(request)
        return web.json_response(self._gemini(job))

    async def operations_page(self, request: web.Request) -> web.Response:
        return web.json_response({"operations": [self._gemini(job) for job in reversed(self.jobs.values())]})

    async def operation(self, request: web.Request) -> web.Response:
        return web.json_response(self._gemini(self.look(f"batches/{request.match_info['job']}")))

    async def operation_cancel(self, request: web.Request) -> web.Response:
        self._canceled(f"batches/{request.match_info['job']}")
        return web.json_response({})

    async def gemini_file(self, request: web.Request) -> web.StreamResponse:
        assert request.query["alt"] == "media"
        job = self.look(f"batches/{request.match_info['file']}")
        lines = [gemini_line(key, outcome) for key, outcome in job.outcomes or ()]
        return await self.download(request, self.listed(lines))

    def _gemini(self, job: Job) -> dict[str, Any]:
        ended, code = job.outcomes is not None, {"invalid": 3, "token_limit_exceeded": 8}
        failed = job.count("error") + job.count("expired")
        stats = {
            "requestCount": len(job.lines),
            "successfulRequestCount": job.count("ok"),
            "failedRequestCount": failed,
        }
        word = (
            "CANCELLED" if job.canceled else "SUCCEEDED" if ended else ["PENDING", "RUNNING"][job.looks > 0]
        )
        kind, _, message = job.refused.partition(": ")
        output = {"responsesFile": f"files/{job.id.removeprefix('batches/')}"}
        metadata = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": "models/tiny",
            "displayName": job.name,
            "createTime": job.created.isoformat(),
            "state": f"BATCH_STATE_{'FAILED' if job.refused else word}",
            "batchStats": {name: str(number) for name, number in stats.items()},
            **({"output": output} if ended and not job.canceled else {}),
        }
        error = {"error": {"code": code[kind], "message": message}} if job.refused else {}
        return {"name": job.id, "metadata": metadata, "done": ended or bool(job.refused), **error}

    async def _read(self, request: web.Request) -> Any:
        body = await request.json()
        self.seen.append((request.method, request.path, body))
        return body

    def _canceled(self, name: str) -> Job:
        if name not in self.jobs:
            raise web.HTTPNotFound(text='{"error": {"message": "no such batch"}}')
        job = self.jobs[name]
        job.canceled, self.held = True, False
        return job


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what validates a value against a type of an SDK."""
    return TypeAdapter(kind)


def question_of(body: dict[str, Any]) -> str:
    """Return the text of the last turn, in any vendor's form."""
    turns = body.get("messages") or body.get("input") or body["contents"]
    content = turns[-1].get("content") or turns[-1]["parts"]
    return content if isinstance(content, str) else content[-1]["text"]


@contextmanager
def serve() -> Iterator[BatchServer]:
    """Start a server in a thread."""
    server = BatchServer()
    routes = [
        web.get("/v1/models", server.models),
        web.post("/v1/chat/completions", server.chat),
        web.post("/v1/responses", server.chat),
        web.post("/v1/messages", server.chat),
        web.post("/v1beta/models/{name}:generateContent", server.chat),
        web.post("/v1/files", server.upload),
        web.get("/v1/files/{file}/content", server.content),
        web.post("/v1/batches", server.create),
        web.get("/v1/batches", server.jobs_page),
        web.get("/v1/batches/{job}", server.state),
        web.post("/v1/batches/{job}/cancel", server.cancel),
        web.post("/v1/messages/batches", server.create_messages),
        web.get("/v1/messages/batches", server.messages_page),
        web.get("/v1/messages/batches/{job}", server.messages_state),
        web.get("/v1/messages/batches/{job}/results", server.messages_results),
        web.post("/v1/messages/batches/{job}/cancel", server.messages_cancel),
        web.get("/v1beta/models/{name}", server.gemini_model),
        web.post("/upload/v1beta/files", server.upload_bytes),
        web.post("/v1beta/models/{name}:batchGenerateContent", server.create_content),
        web.get("/v1beta/batches", server.operations_page),
        web.get("/v1beta/batches/{job}", server.operation),
        web.post("/v1beta/batches/{job}:cancel", server.operation_cancel),
        web.get("/v1beta/files/{file}:download", server.gemini_file),
    ]
    with in_thread(routes) as server.url:
        yield server
