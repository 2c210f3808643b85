"""Small pictures, and what a server would be shown of them."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image

from evalkit.media import ready_messages
from evalkit.types import Image, MediaSupport, Message


def ready(image: Image, **limits) -> Image:
    (message,) = ready_messages((Message("user", (image,)),), MediaSupport(**limits))
    (part,) = message.content
    assert isinstance(part, Image)
    return part


def shown(image: Image) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(image.read()))


def saved(picture: PIL.Image.Image, kind: str, **options) -> Image:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return Image.of(out.getvalue(), f"image/{kind.lower()}")


def gradient(width: int = 40, height: int = 30) -> PIL.Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return PIL.Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))
