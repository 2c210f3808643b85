"""Stores with invented runs, a served board and a browser."""

from __future__ import annotations

import random
import shutil
import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.servers import free_port, serving
from evalkit.store import open_store
from evalkit.store.records import MetricInfo, RunSpec, RunStatus, SampleRecord, Tokens
from evalkit.store.store import Store
from evalkit.types import Answer, Estimate, Passage, Response, Sample, Score, Status, ToolCall

METRICS = (
    MetricInfo("rougeLsum", help="ROUGE-Lsum F1 against the authors' conclusion, stemmed"),
    MetricInfo("rouge1", help="ROUGE-1 F1 against the authors' conclusion, stemmed"),
    MetricInfo("recall@5", kind="retrieval", help="share of the gold documents among the first five"),
    MetricInfo("ndcg@10", kind="retrieval"),
    MetricInfo("citation_precision"),
    MetricInfo("citation_recall"),
    MetricInfo("unsupported", higher_is_better=False, help="share of numbers that no cited passage holds"),
    MetricInfo("words", high=None, higher_is_better=None, kind="fact", unit="words"),
)
DRUGS = [
    "Velotamab",
    "Corzanil",
    "Pexidipine",
    "Luminostat",
    "Ardexaban",
    "Tressimol",
    "Ombrelin",
    "Zafirocept",
]
CONDITIONS = ["Harlow's neuropathy", "chronic dermal fatigue", "tertiary amblosis", "acute Venn syndrome"]
ENDS = ["pain at twelve weeks", "hospital stay", "the rate of relapse", "quality of life"]


def _sample(i: int) -> tuple[Sample, tuple[Passage, ...]]:
    rng = random.Random(i)
    drug, condition, end = rng.choice(DRUGS), rng.choice(CONDITIONS), rng.choice(ENDS)
    target = f"{drug} lowered {end} in patients with {condition}, with few serious adverse events."
    texts = [f"{other} for {condition}: a randomized trial" for other in rng.sample(DRUGS, 5)]
    gold = rng.randrange(5)
    texts[gold] = f"{drug} and {end} in {condition}: a randomized, double-blind trial"
    passages = tuple(
        Passage(
            f"{38000000 + 100 * i + n}",
            f"BACKGROUND: {title}. METHODS: {rng.randrange(40, 400)} adults were assigned to treatment or "
            f"placebo. RESULTS: {end.capitalize()} fell by {rng.randrange(5, 40)} %. CONCLUSION: {target}",
            title,
            round(0.9 - 0.07 * n - rng.random() / 30, 3),
        )
        for n, title in enumerate(texts)
    )
    question = f"Does {drug} improve {end} in patients with {condition}?"
    relevance = {passages[gold].id: 1}
    return Sample(
        f"pmid:{passages[gold].id}", question, target, relevance, cluster=f"article {i // 2}"
    ), passages


def _record(i: int, quality: float, arm: str, failures: float) -> SampleRecord:
    sample, passages = _sample(i)
    rng = random.Random(f"{i} {quality} {arm}")
    status = Status.OK
    if rng.random() < failures:
        status = rng.choice([Status.TRUNCATED, Status.EMPTY, Status.REFUSED, Status.UNPARSED])
    shown = {"closed_book": None, "oracle": tuple(p for p in passages if p.id in sample.relevance)}.get(
        arm, passages
    )
    gold = next((n for n, p in enumerate(shown or (), 1) if p.id in sample.relevance), 1)
    cite = f" [{gold}]" if shown else ""
    reply = "" if status is Status.EMPTY else f"The evidence supports it: {str(sample.target)[:-1]}{cite}."
    if rng.random() > quality and shown and reply:
        reply += f" Smaller studies disagree [{rng.randrange(1, 8)}]."
    names = [m.name for m in METRICS if arm == "retrieved" or m.kind != "retrieval"]
    if arm == "closed_book":
        names = [name for name in names if not name.startswith("citation")]
    values = {name: min(max(rng.gauss(quality, 0.18), 0.0), 1.0) for name in names}
    if status is not Status.OK:
        values = dict.fromkeys(names, 0.0)
    values["unsupported"] = 1 - quality if status is Status.OK else 1.0
    values["words"] = float(len(reply.split()))
    context = "\n\n".join(f"[{n}] {p.title}\n{p.text}" for n, p in enumerate(shown or (), 1))
    messages = [
        {"role": "system", "content": "Answer in at most three sentences and cite passages as [n]."},
        {"role": "user", "content": f"{context}\n\nQuestion: {sample.input}"},
    ]
    return SampleRecord(
        sequence=i,
        sample=sample,
        status=status,
        answer=Answer(Response(text=reply), passages=shown),
        requests=({"model": "served", "messages": messages, "max_tokens": 256, "temperature": 0.0},),
        scores=tuple(Score(name, value) for name, value in values.items()),
        tokens=Tokens(900 + 7 * (i % 40), 60 + i % 30),
        calls=1,
        calls_from_cache=int(i % 9 == 0),
        latency_s=0.4 + rng.random(),
    )


def estimates(store: Store, run_id: str, missing: int) -> dict[str, Estimate]:
    """Plain means with normal intervals, and bounds where samples are missing."""
    found = {}
    for name, scored in store.samples.scores(run_id).items():
        values = [value for _, _, value in scored if value is not None]
        mean, se = statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5
        share = len(values) / (len(values) + missing)
        high = 1.0 if name != "words" else max(values)
        bounds = (mean * share, mean * share + high * (1 - share)) if missing else None
        found[name] = Estimate(mean, se, (mean - 1.96 * se, mean + 1.96 * se), len(values), bounds=bounds)
    return found


def add_run(store: Store, run_id: str, model: str, quality: float, **options: Any) -> None:
    """One invented run. Options: ``arm``, ``n``, ``failures``, ``errors``, ``status``, ``cost`` and
    ``reasoning`` by sample."""
    arm, n = options.get("arm", "retrieved"), options.get("n", 60)
    errors, status = options.get("errors", 0), options.get("status", "complete")
    present = [m for m in METRICS if arm == "retrieved" or m.kind != "retrieval"]
    if arm == "closed_book":
        present = [m for m in present if not m.name.startswith("citation")]
    store.runs.begin(
        RunSpec(
            id=run_id,
            task=f"pubmed_rag[arm={arm},k=5]",
            path="tasks/biomedical/task_pubmed_rag.py",
            model=model,
            model_spec=f"sglang:{model}@http://127.0.0.1:30000",
            tags=("biomedical", "rag"),
            params={"arm": arm, "k": 5},
            metrics=tuple(present),
            n_expected=options.get("expected", n),
            dataset="9d1c7f0e55aa",
            provenance={
                "evalkit": "0.1.0",
                "git": {"revision": "3f9c2ab", "dirty": False},
                "python": "3.11.9",
                "packages": {"faiss-cpu": "1.12.0", "rouge-score": "0.1.2"},
                "prompt": "sha256:5b1f0c9d",
                "server": {"version": "0.5.3", "model_revision": "a81c4e", "dtype": "bfloat16"},
                "seed": 0,
            },
        )
    )
    rows = [_record(i, quality, arm, options.get("failures", 0.04)) for i in range(n - errors)]
    if "reasoning" in options:
        tokens = Tokens(900, 60, reasoning=options["reasoning"])
        rows = [msgspec.structs.replace(row, tokens=tokens) for row in rows]
    if "cost" in options:
        paid = {"cost": options["cost"], "judge_cost": 0.0, "calls_from_cache": 0}
        rows = [msgspec.structs.replace(row, **paid) for row in rows]
    failed = [
        SampleRecord(
            sequence=i, sample=_sample(i)[0], status=Status.ERROR, error="ServerFailed: 500 after 5 tries"
        )
        for i in range(n - errors, n)
    ]
    store.samples.write(run_id, rows + failed)
    end: RunStatus = status
    if end != "running":
        store.runs.finish(run_id, end, estimates(store, run_id, errors), 31.0 + n)


def fill(path: Path, n: int = 60) -> Path:
    """A store that looks like one in use."""
    models = [
        ("aurora-70b-instruct", 0.71),
        ("borealis-8b", 0.62),
        ("cirrus-3b", 0.5),
        ("baseline:extract", 0.43),
    ]
    with open_store(path) as store:
        for arm, lift in [("closed_book", -0.2), ("oracle", 0.12), ("retrieved", 0.0)]:
            for model, quality in models:
                add_run(store, f"{model[:3]}-{arm[:3]}-7f3a", model, quality + lift, arm=arm, n=n)
        add_run(
            store, "dri-ret-51c0", "drizzle-1b", 0.58, n=n, errors=n // 6, status="incomplete", failures=0.2
        )
    return path


@pytest.fixture
def invent_run() -> Callable[..., None]:
    """``add_run``, for tests that need a run of their own."""
    return add_run


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("filled") / "evalkit.db")


class Listener:
    """A web server that counts what is fetched from it: it should be nothing."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.hits.append(self.path)
                self.send_response(404)
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="session")
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def _conversation(attack: str) -> SampleRecord:
    """A sample whose model calls tools with hostile names, and gets hostile results."""
    call = {"id": "1", "name": attack, "arguments": {attack: attack}}
    broken = {"id": "2", "name": attack, "arguments": None, "raw": attack}
    first = [{"role": "user", "content": attack}]
    second = [
        *first,
        {"role": "assistant", "content": attack, "tool_calls": [call, broken], "native": {attack: attack}},
        {"role": "tool", "content": attack * 20, "tool_call_id": "1"},
        {"role": attack, "content": [{"type": attack}, {"type": "text", "text": attack}]},
        {"role": "tool", "content": attack, "tool_call_id": "2"},
    ]
    facts = {
        "turns": 2,
        "stopped": attack,
        "tool_calls": [{"turn": 1, "name": attack, "problem": attack}] * 2,
        "replies": [{"reasoning": attack}, {"prompt_tokens": 3}],
        "results": [{"role": "tool", "content": attack, "tool_call_id": attack}],
    }
    response = Response(text=attack, tool_calls=(ToolCall(attack, attack, {attack: attack}),))
    return SampleRecord(
        sequence=2,
        sample=Sample(f"{attack}2", attack, attack),
        status=Status.OK,
        answer=Answer(response, metadata={"conversation": facts}),
        requests=(
            {"messages": first, "tools": [{"name": attack}]},
            {"messages": second, "tools": [{"name": attack}]},
        ),
    )


@pytest.fixture(scope="session")
def hostile(filled: Path, tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Path:
    """A copy of the filled store with a run whose every text attacks its reader."""
    path = tmp_path_factory.mktemp("hostile") / "evalkit.db"
    shutil.copy(filled, path)
    url = f"http://127.0.0.1:{listener.port}"
    attack = (
        f"<script>fetch('{url}/script')</script> ![]({url}/leak.png) "
        f"<img src='{url}/img.png' onerror='alert(1)'> "
        f"[a]({url}/link) {url}/bare www.evil.example a@evil.example $x$ :material/home: =HYPERLINK('{url}')"
    )
    passage = Passage(attack, attack, attack)
    texts = [attack, attack + "x" * 1_000_000]
    rows = [
        SampleRecord(
            sequence=i,
            sample=Sample(f"{attack}{i}", attack, attack, {attack: 1}, metadata={attack: attack}),
            status=Status.OK,
            answer=Answer(Response(text=text, reasoning=attack), passages=(passage,)),
            requests=({"messages": [{"role": attack, "content": attack}]},),
            scores=(Score("f1", None, attack),),
        )
        for i, text in enumerate(texts)
    ]
    rows.append(_conversation(attack))
    with open_store(path) as store:
        store.runs.begin(
            RunSpec(
                id="hostile",
                task=f"attack[x={attack}]",
                path=attack,
                model=attack,
                model_spec=attack,
                params={"x": attack, "arm": attack},
                metrics=(MetricInfo("f1", help=attack), MetricInfo(attack)),
                provenance={"server": attack},
            )
        )
        store.samples.write("hostile", rows)
        one = Estimate(0.5, 0.1, (0.4, 0.6), 3)
        store.runs.finish("hostile", "complete", {"f1": one, attack: one}, 1.0)
    return path


@pytest.fixture(scope="session")
def board(hostile: Path) -> Iterator[str]:
    """The address of a running board."""
    with serve(hostile) as address:
        yield address


@pytest.fixture
def fresh_board(filled: Path) -> Iterator[str]:
    """The address of a board that nobody has visited yet."""
    with serve(filled) as address:
        yield address


@contextmanager
def serve(store: Path, **options: Any) -> Iterator[str]:
    """Run the board over a store."""
    from evalkit_leaderboard.launch import command

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {"EVALKIT_STORE": str(store)}
    with serving(
        command(port, **options), f"{address}/_stcore/health", cwd=store.parent, environment=environment
    ):
        yield address
