"""Batch interfaces as OpenAI, Anthropic and Google document them, in a thread, with faults that a test switches on.

Every reply about a job or a chat is built from the types of the vendor's official SDK, and every job that comes
in is validated against them. ``paid`` counts the lines that were answered, by their question.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter

from tests.servers.in_thread import in_thread

Outcome = tuple[str, Any]  # "ok" and the reply's text; "error" and its status; "expired"; "canceled"


@dataclass
class Job:
    """A job: its lines by ``custom_id``, the times that its state was asked for, and its outcomes once ended."""

    id: str
    name: str
    lines: list[tuple[str, dict[str, Any]]]
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
    - ``garbles``: a broken line is among the results. ``breaks_off``: so many downloads break off half-way.
    - ``refuses``: the job fails its validation with this message and code. ``vanishes``: unknown after it ended.
    - ``busy``: so many submissions get 429. ``hangs_up``: so many submissions arrive, and get no reply.
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

    # --- What all vendors share ---

    def submit(self, job: Job) -> Job:
        if self.busy:
            self.busy -= 1
            raise web.HTTPTooManyRequests(text='{"error": {"message": "slow down", "type": "rate_limit_error"}}')
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
        self.chats += 1
        return web.json_response(chat_completion("yes"))

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()
        return web.json_response({"id": name, "object": "file", "purpose": "batch"})

    async def create(self, request: web.Request) -> web.Response:
        from openai.types.batch_create_params import BatchCreateParams

        body = TypeAdapter(BatchCreateParams).validate_python(await request.json())
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        assert {(line["method"], line["url"]) for line in lines} == {("POST", body["endpoint"])}
        assert len({line["custom_id"] for line in lines}) == len(lines)
        rows = [(line["custom_id"], line["body"]) for line in lines]
        job = self.submit(Job(f"batch_{len(self.jobs)}", body["metadata"]["evalkit"], rows))
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
        return web.json_response(self._openai(self.look(request.match_info["job"])))

    async def cancel(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["job"]]
        job.canceled, self.held = True, False
        return web.json_response(self._openai(job))

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
            endpoint="/v1/chat/completions",
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
        lines = [openai_line(key, outcome) for key, outcome in outcomes if (outcome[0] == "ok") == (kind == "output")]
        return await self.download(request, self.listed(lines))


def question_of(body: dict[str, Any]) -> str:
    """Return the text of the last turn, in any vendor's form."""
    turns = body.get("messages") or body["contents"]
    content = turns[-1].get("content") or turns[-1]["parts"]
    return content if isinstance(content, str) else content[-1]["text"]


def chat_completion(text: str) -> dict[str, Any]:
    """Return a chat completion, as OpenAI's SDK types it."""
    from openai.types.chat import ChatCompletion

    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    completion = ChatCompletion(
        id="1", object="chat.completion", created=0, model="tiny", choices=[choice], usage=usage
    )
    return completion.model_dump(mode="json")


def openai_line(key: str, outcome: Outcome) -> dict[str, Any]:
    """Return a line of the output file or the error file."""
    kind, value = outcome
    line: dict[str, Any] = {"id": f"batch_req_{key[:8]}", "custom_id": key, "response": None, "error": None}
    if kind == "ok":
        line["response"] = {"status_code": 200, "request_id": "r", "body": chat_completion(value)}
    elif kind == "error":
        error = {"message": f"failed with {value}", "type": "error", "code": None}
        line["response"] = {"status_code": value, "request_id": "r", "body": {"error": error}}
    elif kind == "expired":
        line["error"] = {"code": "batch_expired", "message": "This request could not be executed in time."}
    else:
        line["error"] = {"code": "batch_cancelled", "message": "This request was cancelled."}
    return line


@contextmanager
def serve() -> Iterator[BatchServer]:
    """Start a server in a thread."""
    server = BatchServer()
    routes = [
        web.get("/v1/models", server.models),
        web.post("/v1/chat/completions", server.chat),
        web.post("/v1/files", server.upload),
        web.get("/v1/files/{file}/content", server.content),
        web.post("/v1/batches", server.create),
        web.get("/v1/batches", server.jobs_page),
        web.get("/v1/batches/{job}", server.state),
        web.post("/v1/batches/{job}/cancel", server.cancel),
    ]
    with in_thread(routes) as server.url:
        yield server
