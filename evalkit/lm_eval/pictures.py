"""Pictures of lm-eval's documents as lm-eval's API models send them: PNG, before the last text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.errors import SetupError
from evalkit.lm_eval.ask import ChatText
from evalkit.media import keep_image
from evalkit.media.pixels import png
from evalkit.types import Image


def pictures_of(kind: str, args: Sequence[Any], most: int | None = None) -> tuple[Image, ...]:
    """Return the first ``most`` pictures among the arguments of a request of lm-eval, by default all.

    Raises ``SetupError`` for sounds, for pictures outside a chat, and for objects that are not pictures.
    """
    media = next((a for a in args if isinstance(a, dict) and ("visual" in a or "audio" in a)), None)
    if media is None:
        return ()
    if "audio" in media:
        raise SetupError("tasks with sounds are not supported: lm-eval's API models do not send sounds")
    if kind != "generate_until":
        raise SetupError(
            f"pictures with {kind} are not supported: lm-eval's API models only generate with them"
        )
    if not isinstance(args[0], ChatText):
        raise SetupError("pictures need a chat: set apply_chat_template=true, and no tokenizer")
    visual = media["visual"]
    return tuple(map(_stored, (visual if isinstance(visual, list | tuple) else [visual])[:most]))


def is_picture(value: Any) -> bool:
    """Return whether a value is a picture opened by Pillow."""
    return hasattr(value, "save") and hasattr(value, "mode")


def as_png(picture: Any) -> bytes:
    """Return the PNG file that lm-eval sends for a picture."""
    try:
        return png(picture)
    except OSError:  # PNG does not support CMYK and some other modes
        return png(picture.convert("RGB"))


def _stored(picture: Any) -> Image:
    if not is_picture(picture):
        raise SetupError(f"doc_to_image gives {type(picture).__name__}, not a picture opened by Pillow")
    return keep_image(as_png(picture), "image/png")
