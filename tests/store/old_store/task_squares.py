"""A vision task with choices: which colour is the square? It made the runs of the old store."""

from __future__ import annotations

from collections.abc import Iterator

from evalkit import Answer, Image, Model, Requirements, Sample, task
from evalkit.choice.asking import answer_choice, lettered
from evalkit.media import Arm, image_arms, in_arm
from evalkit.media.pixels import plain_png
from evalkit.metrics import accuracy

COLOURS = {"red": (200, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 200)}


def samples(n: int = 6, image: Arm = "real") -> Iterator[Sample]:
    names = list(COLOURS)
    made = (
        Sample(
            f"square-{i}",
            "Which colour is it?",
            "ABC"[i % 3],
            choices=tuple(names),
            images=(Image.of(plain_png(4 + i, 4 + i, COLOURS[names[i % 3]])),),
            slices={"parity": "odd" if i % 2 else "even"},
        )
        for i in range(n)
    )
    return in_arm(made, image)


def prompt(shown: Sample) -> str:
    return f"{shown.input}\n{lettered(shown.choices)}"


@task(samples, metrics=[accuracy()], needs=Requirements(images=True))
@image_arms
async def squares(sample: Sample, model: Model, image: Arm = "real", circular: bool = False) -> Answer:
    """Name the colour of a square."""
    return await answer_choice(sample, model, prompt, circular=circular)
