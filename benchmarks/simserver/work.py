"""Workloads for the simulated server: requests of evalkit with the lengths of their replies."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from benchmarks.simserver.server import Job
from evalkit.types import Image, Message, Request, Text

CHARS_PER_TOKEN = 4


@dataclass(frozen=True)
class Item:
    """A request, its job for the server, and the length of its reply in an earlier run of the same task."""

    request: Request
    pieces: tuple[tuple[str, int], ...]
    output: int
    earlier: int
    then: Item | None = None  # sent after the reply to this one

    def job(self, tag: object = None) -> Job:
        """Return a new job for a server."""
        return Job(self.pieces, self.output, tag)


def rag(seed: int, n: int = 2_000, prefixes: int = 40, *, noise: float = 0.3) -> list[Item]:
    """Return questions on shared passages of about 1,500 tokens, shuffled.

    Lengths of replies are log-normal (median 120, σ 0.9, at most 1,024), longer for some passages; lengths of
    the earlier run differ by the factor exp(N(0, ``noise``)).
    """
    rng = random.Random(seed)
    sizes = [round(rng.gauss(1_500, 25)) for _ in range(prefixes)]
    pull = [rng.gauss(0, 0.3) for _ in range(prefixes)]
    items = []
    for i in range(n):
        which = i % prefixes
        question = rng.randint(30, 90)
        output = _capped(120 * math.exp(pull[which] + rng.gauss(0, 0.9)))
        earlier = _capped(output * math.exp(rng.gauss(0, noise)))
        passages = _text(f"Passages {which}.", sizes[which])
        asked = _text(f"Question {rng.random()}?", question)
        items.append(
            Item(
                Request(messages=(Message("user", f"{passages}\n\n{asked}"),), max_tokens=1_024),
                ((f"p{which}", sizes[which]), (f"q{i}", question)),
                output,
                earlier,
            )
        )
    rng.shuffle(items)
    return items


def few_shot(seed: int, n: int = 4_000, subjects: int = 57) -> list[Item]:
    """Return multiple choice after examples of a subject (about 700 tokens), shuffled; short replies."""
    rng = random.Random(seed)
    sizes = [rng.randint(400, 1_000) for _ in range(subjects)]
    items = []
    for i in range(n):
        which = min(subjects - 1, int(rng.expovariate(1 / 15)))
        asked = rng.randint(40, 160)
        output = rng.randint(1, 3)
        shots = _text(f"Examples of subject {which}.", sizes[which])
        text = f"{shots}\n\n{_text(f'Item {rng.random()}', asked)}\n\nAnswer:"
        pieces = ((f"s{which}", sizes[which]), (f"q{i}", asked))
        items.append(Item(Request(messages=(Message("user", text),), max_tokens=8), pieces, output, output))
    return items


def pictures(seed: int, n: int = 2_000, studies: int = 150) -> list[Item]:
    """Return questions on studies of 1 to 4 pictures (300–1,200 tokens each), shuffled; short replies."""
    rng = random.Random(seed)
    shown = [
        [
            (Image.of(b"%d picture %d of study %d" % (seed, i, study)), rng.randint(300, 1_200))
            for i in range(rng.randint(1, 4))
        ]
        for study in range(studies)
    ]
    items = []
    for i in range(n):
        images, asked = shown[i % studies], rng.randint(15, 60)
        output = max(1, min(256, round(rng.lognormvariate(math.log(15), 0.8))))
        parts = (*(image for image, _ in images), Text(_text(f"Question {rng.random()}?", asked)))
        pieces = (*((image.sha256, tokens) for image, tokens in images), (f"q{i}", asked))
        earlier = max(1, min(256, round(output * math.exp(rng.gauss(0, 0.3)))))
        request = Request(messages=(Message("user", parts),), max_tokens=256)
        items.append(Item(request, pieces, output, earlier))
    rng.shuffle(items)
    return items


def judged(seed: int) -> list[Item]:
    """Return half of the RAG-like work, each reply then judged by the same server in about 25 tokens.

    The judge's prompt has a rubric of 400 tokens and the passages of the question.
    """
    rng = random.Random(seed)
    items = []
    for item in rag(seed, 1_000):
        passages, _, question = str(item.request.messages[0].content).partition("\n\n")
        rubric = (Message("system", _text("Judge the answer.", 400)),)
        said = Message("user", f"{passages}\n\n{_text(question[:40], item.output + 60)}")
        output = max(1, min(256, round(rng.lognormvariate(math.log(25), 0.5))))
        pieces = (("rubric", 400), item.pieces[0], (f"judged {item.pieces[1][0]}", item.output + 60))
        request = Request(messages=(*rubric, said), max_tokens=256)
        items.append(replace(item, then=Item(request, pieces, output, output)))
    return items


def _capped(tokens: float) -> int:
    return max(1, min(1_024, round(tokens)))


def _text(start: str, tokens: int) -> str:
    return (start + " ").ljust(tokens * CHARS_PER_TOKEN, "x")
