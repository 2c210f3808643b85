"""Do forecasts hold what runs then cost? ``python -m benchmarks.cost``, a minute.

The server and the simulated models follow a known law: a prompt has a token for every 4.2 characters, give or
take 8 %, and 12 more; replies have log-normal lengths, up to ``max_tokens``. First, ``evalkit run`` asks a
server on this machine, as a user would. Then the forecast is made for hundreds of simulated runs, each with
other lengths, and compared with what the run would cost. ``--write`` puts both tables into
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.instant import Instant, _http
from benchmarks.pages import write_part
from evalkit import Answer, Model, Sample
from evalkit.models.fake import FakeBackend
from evalkit.models.prices import Price, Rates
from evalkit.run.engine import Work
from evalkit.run.forecast import forecast
from evalkit.run.history import Earlier
from evalkit.store.records import Calls
from evalkit.types import Request
from evalkit.util.progress import Silent

INPUT, OUTPUT, MOST = 1e-6, 4e-6, 400
PRICE = Price(
    "law",
    {},
    lambda tokens: Rates(
        input=INPUT, output=OUTPUT, cached_input=INPUT, cache_write=INPUT, reasoning=OUTPUT, image=INPUT
    ),
)


class Law:
    """A model with its own lengths: tokens for each character, replies with a ``spread`` and at ``most``."""

    def __init__(self, seed: object, spread: float = 0.6, most: int = MOST) -> None:
        draw = random.Random(f"law {seed}")
        self._seed, self._spread, self._most = seed, spread, most
        self.per_character = draw.lognormvariate(0, 0.08) / 4.2
        self.reply = draw.lognormvariate(4.3, 0.5)

    def usage(self, prompt: str) -> tuple[int, int]:
        """Return the tokens of a prompt and of its reply, which are the same each time."""
        draw = random.Random(f"{self._seed} {prompt}")
        tokens = 12 + len(prompt) * self.per_character * draw.gauss(1, 0.08)
        return round(tokens), min(self._most, 1 + round(self.reply * draw.lognormvariate(0, self._spread)))

    def cost(self, prompts: list[str]) -> float:
        """Return the US dollars of a run over prompts."""
        pairs = map(self.usage, prompts)
        return sum(tokens * INPUT + reply * OUTPUT for tokens, reply in pairs)


def questions(n: int, seed: object) -> list[str]:
    """Return prompts of 100 to 4,000 characters."""
    draw = random.Random(f"questions {seed}")
    sizes = (min(4000, 100 + int(draw.expovariate(1 / 600))) for _ in range(n))
    return [f"Question {i}: {'word ' * (size // 5)}" for i, size in enumerate(sizes)]


# --- Through the command, against a server -----------------------------------------------------------------

TASK = '''
"""Ask the questions of a file."""
import json
from pathlib import Path
from evalkit import Answer, Model, Sample, task
from evalkit.metrics import exact_match

QUESTIONS = json.loads((Path(__file__).parent / "questions.json").read_text())

@task([Sample(str(i), text, "yes") for i, text in enumerate(QUESTIONS)], metrics=[exact_match()])
async def asked(sample: Sample, model: Model) -> Answer:
    """Ask the question."""
    return Answer(await model.generate(sample.input, max_tokens=400))
'''


class Lawful(Instant):
    """A connection to the server, whose model's name is the seed of its law."""

    def _reply(self, line: bytes, body: bytes) -> bytes:
        if line.startswith(b"GET"):
            models = [{"id": name, "object": "model", "max_model_len": 32768} for name in ("one", "two")]
            return _http(json.dumps({"object": "list", "data": models}).encode(), b"/models" in line)
        asked = json.loads(body)
        tokens, reply = Law(asked["model"]).usage(asked["messages"][-1]["content"])
        usage = {"prompt_tokens": tokens, "completion_tokens": reply, "total_tokens": tokens + reply}
        message = {"role": "assistant", "content": " yes" * reply}  # as many words as it has tokens
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        answer = {"id": "1", "object": "chat.completion", "model": asked["model"], "choices": [choice]}
        return _http(json.dumps(answer | {"usage": usage}).encode())


@contextmanager
def lawful() -> Iterator[str]:
    """Serve in a thread; yield the URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Lawful, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def served(n: int) -> list[str]:
    """Return the rows of runs through the command."""
    runs = [
        ("20 samples, nothing known", "one", ["--limit", "20"]),
        (f"{n:,} samples, after these 20", "one", ["--cache", "refresh"]),
        (f"{n:,} samples again, with all replies known", "one", ["--cache", "refresh"]),
        ("another model on the same task", "two", []),
        ("twice as many draws, half of them in the cache", "two", ["--repeat", "2"]),
    ]
    rows = []
    with lawful() as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "task_asked.py").write_text(TASK)
        (folder / "questions.json").write_text(json.dumps(questions(n, "served")))
        prices = "\n".join(
            f'[prices."openai:{model}"]\ninput = {INPUT * 1e6}\noutput = {OUTPUT * 1e6}\n'
            for model in ("one", "two")
        )
        (folder / "evalkit.toml").write_text(prices)
        for what, model, options in runs:
            command = [sys.executable, "-m", "evalkit", "run", "task_asked.py", "--json", "-q"]
            command += ["--model", f"openai:{model}@{url}", *options]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            (run,) = json.loads(done.stdout)["runs"]
            value, low, high = run["forecast"]["cost"]
            inside = "yes" if low <= run["cost"] <= high else "**no**"
            rows.append(
                f"| {what} | ${value:.4f} | [{low:.4f}, {high:.4f}] | ${run['cost']:.4f} | {inside} |"
            )
            print(rows[-1], flush=True)
    return rows


# --- Many simulated runs -----------------------------------------------------------------------------------


async def foretold(n: int, law: Law, texts: list[str], earlier: Earlier) -> tuple[float, float, float]:
    """Return the forecast of a run over ``n`` questions."""

    async def samples() -> AsyncIterator[Sample]:
        for i, text in enumerate(texts):
            yield Sample(str(i), text)

    async def ask(sample: Sample, model: Model) -> Answer:
        return Answer(await model.generate(sample.input, max_tokens=MOST))

    def never(request: Request) -> str:
        raise AssertionError("a rehearsal sends nothing")

    with Silent().bar("", n) as bar:
        work = Work(
            fn=ask,
            arguments={},
            model=Model(FakeBackend(never)),
            samples=samples,
            repeats=1,
            done=set(),
            scorer=None,  # type: ignore[arg-type]
            write=lambda records: None,
            bar=bar,
        )
        found = await forecast(work, n, earlier, PRICE)
    assert found is not None
    assert found.cost is not None
    return found.cost


def learned(law: Law, texts: list[str], m: int, *, same_model: bool = True) -> Earlier:
    """Return what a run over the first ``m`` questions tells."""
    usages = {str(i): law.usage(text) for i, text in enumerate(texts[:m])}
    calls = {name: Calls(1, tokens, reply, 0) for name, (tokens, reply) in usages.items()}
    return Earlier("before", True, same_model, calls)


def after(m: int) -> Callable[[int, Law, list[str]], Earlier]:
    """Return what makes the earlier run of the model itself over the first ``m`` texts."""
    return lambda seed, law, texts: learned(law, texts, m)


def thinking(seed: object) -> Law:
    """Return a model that thinks: some replies are thirty times as long as the median."""
    return Law(seed, spread=1.2, most=32_768)


def coverage(
    what: str,
    times: int,
    earlier: Callable[[int, Law, list[str]], Earlier],
    n: int,
    law_of: Callable[[object], Law] = Law,
) -> str:
    """Return a row: how often the interval holds the cost, how wide it is, how far the estimate is off."""
    inside, widths, errors = 0, [], []
    for seed in range(times):
        law, texts = law_of(seed), questions(n, seed)
        value, low, high = asyncio.run(foretold(n, law, texts, earlier(seed, law, texts)))
        cost = law.cost(texts)
        inside += low <= cost <= high
        widths.append((high - low) / 2 / cost)
        errors.append(abs(value / cost - 1))
    row = f"| {what} | {inside / times:.0%} | {median(errors):.0%} | ±{median(widths):.0%} |"
    print(row, flush=True)
    return row


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    n, times = options.samples, options.times
    lines = ["| run | estimate | interval | then cost | inside |", "|---|---|---|---|---|", *served(n)]
    cases: dict[str, Callable[[int, Law, list[str]], Earlier]] = {
        "no earlier run": lambda seed, law, texts: Earlier(),
        "another task by this model": lambda seed, law, texts: Earlier(per_character=law.per_character),
        "20 of the samples by this model": after(20),
        "200 of the samples by this model": after(200),
        "all samples by another model": lambda seed, law, texts: learned(
            Law(f"other {seed}"), texts, n, same_model=False
        ),
    }
    table = [
        "| what is known | inside the interval | median error | median half width |",
        "|---|---|---|---|",
    ]
    table += [coverage(what, times, earlier, n) for what, earlier in cases.items()]
    table += [
        coverage(f"{m} of the samples by this model, which thinks", times, after(m), n, thinking)
        for m in (20, 200)
    ]
    if options.write:
        about = f"{times} simulated models and data sets of {n:,} samples each:"
        write_part("cost", "\n".join([*lines, "", about, "", *table]))


if __name__ == "__main__":
    main()
