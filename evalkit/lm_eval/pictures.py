"""Pictures of lm-eval's documents as its models of served APIs send them: PNG, before the last text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.errors import SetupError
from evalkit.lm_eval.ask import ChatText
from evalkit.media import keep_image
from evalkit.media.pixels import png
from evalkit.types import Image


def pictures_of(kind: str, args: Sequence[Any], most: int | None = None) -> tuple[Image, ...]:
    """The first ``most`` pictures of a request of lm-eval, which lie behind its other arguments; else all.

    Raises ``SetupError`` for sounds, for pictures outside a chat, and for what is no picture.
    """
    shown = next((a for a in args if isinstance(a, dict) and ("visual" in a or "audio" in a)), None)
    if shown is None:
        return ()
    if "audio" in shown:
        raise SetupError("lm-eval sends sounds to no served model, so there is nothing to be equal to")
    if kind != "generate_until":
        raise SetupError(f"lm-eval asks no served model for {kind} beside pictures, only for generate_until")
    if not isinstance(args[0], ChatText):
        raise SetupError("pictures are shown in a chat: apply_chat_template=true, and no tokenizer")
    visual = shown["visual"]
    return tuple(map(_kept, (visual if isinstance(visual, list | tuple) else [visual])[:most]))


def is_picture(value: Any) -> bool:
    """Whether it is a picture as Pillow opens it."""
    return hasattr(value, "save") and hasattr(value, "mode")


def as_png(picture: Any) -> bytes:
    """The file that lm-eval sends of a picture."""
    try:
        return png(picture)
    except OSError:  # CMYK and others, which PNG does not hold
        return png(picture.convert("RGB"))


def _kept(picture: Any) -> Image:
    if not is_picture(picture):
        raise SetupError(f"doc_to_image gives {type(picture).__name__}, not a picture as Pillow opens it")
    return keep_image(as_png(picture), "image/png")
