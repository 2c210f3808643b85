"""Checks of pictures with a vision model that names the colour of a plain picture."""

from __future__ import annotations

import argparse
import asyncio
import io
from functools import partial

from benchmarks.served.common import connect, expect
from evalkit.media import ARMS, in_arm
from evalkit.media.pixels import plain_png
from evalkit.stats import paired
from evalkit.types import Image, Sample
from tests.servers.taught import COLOURS, IMAGE_QUESTION


async def check_images(args: argparse.Namespace) -> str:
    """Check the named colour of a plain picture, and the server's count of image tokens."""
    async with connect(args) as model:
        right = counted = 0
        for name, colour in COLOURS.items():
            picture = Image.of(png(colour))
            response = await model.generate(IMAGE_QUESTION, images=[picture], max_tokens=8)
            right += response.text == name
            counted += bool(response.usage.image_tokens)
    expect((right, counted), (len(COLOURS), len(COLOURS)))
    return f"{right} of {len(COLOURS)} colours named, image tokens counted in {counted}"


async def check_several_images(args: argparse.Namespace) -> str:
    """Check that every picture of a message is counted: three pictures cost three times as much as one."""
    pictures = [Image.of(png(colour)) for colour in COLOURS.values()][:3]
    async with connect(args) as model:
        ask = partial(model.generate, IMAGE_QUESTION, max_tokens=4)
        counted = [(await ask(images=pictures[:n])).usage.image_tokens for n in (1, 2, 3)]
    one = counted[0] or 0
    expect((one > 0, counted), (True, [one, 2 * one, 3 * one]))
    return f"{counted} image tokens for 1, 2 and 3 pictures"


async def check_formats(args: argparse.Namespace) -> str:
    """Check the named colour for each format: WebP is sent unchanged, TIFF and CMYK are converted."""
    import PIL.Image

    named = 0
    async with connect(args) as model:
        for made in ("WEBP RGB", "JPEG RGB", "TIFF RGB", "JPEG CMYK", "PNG RGBA"):
            kind, mode = made.split()
            out = io.BytesIO()
            PIL.Image.new("RGB", (56, 56), COLOURS["blue"]).convert(mode).save(out, kind)
            response = await model.generate(IMAGE_QUESTION, images=[Image.of(out.getvalue())], max_tokens=8)
            named += response.text == "blue"
    expect(named, 5)
    return "WebP, JPEG, TIFF, CMYK, RGBA: all named"


async def check_reliance(args: argparse.Namespace) -> str:
    """Ask the same questions with real, blank, shuffled and no pictures, and compare them by sample."""
    samples = [
        Sample(f"{name}-{n}", IMAGE_QUESTION, name, images=(Image.of(png(colour, 56 + n)),))
        for name, colour in COLOURS.items()
        for n in range(4)
    ]
    scores: dict[str, list[float]] = {}
    async with connect(args) as model:
        for arm in ARMS:
            shown = list(in_arm(samples, arm))
            replies = await asyncio.gather(
                *(model.generate(s.input, images=s.images, max_tokens=8) for s in shown)
            )
            scores[arm] = [float(r.text == s.target) for r, s in zip(replies, shown, strict=True)]
    gaps = {arm: paired(scores["real"], scores[arm], low=0, high=1) for arm in ARMS[1:]}
    expect({arm: gap.ci[0] > 0 for arm, gap in gaps.items()}, dict.fromkeys(gaps, True))
    told = ", ".join(f"{arm} {gap.value:.2f} [{gap.ci[0]:.2f}, {gap.ci[1]:.2f}]" for arm, gap in gaps.items())
    return f"real − {told}"


def png(colour: tuple[int, int, int], size: int = 56) -> bytes:
    """Return a plain picture as a PNG file."""
    return plain_png(size, size, colour)
