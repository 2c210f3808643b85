"""Questions that the tiny model which thinks was taught: their answers are shorter than its thoughts."""

from collections.abc import Iterator

from evalkit import Answer, Model, Sample, task
from evalkit.metrics import exact_match
from tests.servers.taught import QUESTIONS


def samples() -> Iterator[Sample]:
    for n, (question, answer) in enumerate(QUESTIONS):
        yield Sample(str(n), question, answer)


@task(samples, metrics=[exact_match()])
async def thinker(sample: Sample, model: Model) -> Answer:
    """Ask a question whose answer is at most a sentence."""
    return Answer(await model.generate(sample.input, max_tokens=32))
