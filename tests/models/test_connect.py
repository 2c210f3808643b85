"""From a spec to a model: what is wrapped around it, and what an earlier run tells the scheduler."""

from __future__ import annotations

import asyncio
from pathlib import Path

from evalkit import Request, Requirements, Sample
from evalkit.models.connect import connect
from evalkit.models.fake import FakeBackend


async def test_what_took_long_in_an_earlier_run_begins_early(tmp_path: Path) -> None:
    order: list[str] = []
    first = asyncio.Event()

    async def reply(request: Request) -> str:
        order.append(request.sample.id)
        await first.wait()
        return "done"

    earlier = {"short": 5.0, "long": 400.0, "middle": 90.0}
    async with connect(
        "fake",
        Requirements(),
        tmp_path / "responses.db",
        stop=asyncio.Event(),
        max_inflight=1,
        given=FakeBackend(reply),
        earlier=earlier,
    ) as (_, model):
        bound = {name: model.for_sample(Sample(name, f"about {name}")) for name in ("now", *earlier)}
        asked = [asyncio.create_task(m.generate(f"Tell me about {n}")) for n, m in bound.items()]
        await asyncio.sleep(0.05)
        assert order == ["now"]  # one slot: the others wait
        first.set()
        await asyncio.gather(*asked)
    assert order == ["now", "long", "middle", "short"]


async def test_a_stopping_run_sends_nothing_more(tmp_path: Path) -> None:
    asked: list[str] = []
    stop = asyncio.Event()
    backend = FakeBackend(lambda request: asked.append(request.messages[0].content) or "yes")
    async with connect("fake", Requirements(), tmp_path / "responses.db", stop=stop, given=backend) as (
        _,
        model,
    ):
        await model.generate("before")
        stop.set()
        late = asyncio.create_task(model.generate("after"))
        await asyncio.wait([late])
        assert late.cancelled()
    assert asked == ["before"]


TASK = """
from evalkit import Answer, Sample, task

@task([Sample(name, name) for name in ("a", "b", "c", "d", "e", "f")], metrics=[])
async def letters(sample, model):
    return Answer(await model.generate(sample.input, max_tokens=500))
"""


def test_another_model_on_the_same_task_tells_what_will_take_long(evalkit, scripted) -> None:
    (evalkit.folder / "task_letters.py").write_text(TASK)
    lengths = {"a": 40, "b": 300, "c": 5, "d": 90, "e": 200, "f": 1}
    scripted.usage = lambda body: {"completion_tokens": lengths[body["messages"][0]["content"]]}
    orders = []
    for model in (f"openai:tiny@{scripted.url}", "baseline:random", f"sglang:tiny@{scripted.url}"):
        scripted.bodies.clear()
        evalkit("run", "task_letters.py", "--max-inflight", "1", "--model", model)
        orders.append("".join(body["messages"][0]["content"] for body in scripted.bodies))
    assert sorted(orders[0]) == list("abcdef")  # in any order: nothing is known yet
    assert orders[1:] == ["", "bedacf"]
