"""Questions for the simulated server, which answers two of three correctly."""

import zlib
from collections.abc import Iterator

from evalkit import Answer, Model, Sample, task
from evalkit.metrics import exact_match


def samples(n: int = 600, name: str = "soak") -> Iterator[Sample]:
    for i in range(n):
        question = f"{name} {i}"
        right = f"reply {zlib.crc32(question.encode(), 1)}"  # the server's rule, at its seed
        yield Sample(str(i), question, right if i % 3 else "no")


@task(samples, metrics=[exact_match()])
async def soak(sample: Sample, model: Model) -> Answer:
    return Answer(await model.generate(sample.input))
