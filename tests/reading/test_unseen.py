"""Which replies say that there is no picture, and which answer a question about it."""

from __future__ import annotations

import pytest

from evalkit.reading.unseen import says_no_picture


@pytest.mark.parametrize(
    "reply",
    [
        "I cannot see a picture.",
        "I can’t see the image you mention.",
        "I’m unable to view images.",
        "I don't see any image in your message.",
        "As a text-based model, I do not have the ability to view pictures.",
        "There is no image attached.",
        "No image was provided, so I cannot answer.",
        "It seems the image was not uploaded.",
        "Unfortunately the image didn't come through.",
        "Please upload the X-ray.",
        "The image is blank.",
        "The picture is a solid gray square.",
        "I'm sorry, but I can't assist with that.",
    ],
)
def test_a_reply_that_sees_nothing(reply: str) -> None:
    assert says_no_picture(reply)
    assert says_no_picture(f"**{reply.upper()}**")


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "No",
        "There is no fracture in the image.",
        "I cannot see a fracture in this image.",
        "I don't see any pneumothorax on this x-ray.",
        "No pleural effusion is present in the image.",
        "The scan shows no free air.",
        "The image shows an empty stomach.",
        "The image does not show cardiomegaly.",
        "The mass is not seen in the provided image.",
    ],
)
def test_a_reply_about_what_is_seen(reply: str) -> None:
    assert not says_no_picture(reply)
