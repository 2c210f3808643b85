"""Replies that say that there is no picture, and answers that sound alike."""

import pytest

from evalkit.reading.no_picture import no_picture, undetermined


@pytest.mark.parametrize(
    "text",
    [
        "I cannot see the image",
        "no image is attached",
        "please upload the scan",
        "the picture is blank",
        "I can't view the attached X-ray.",
        "I don't see any attached images.",
        "I am unable to interpret medical images.",
        "I'm not able to view or analyze images directly.",
        "No image was found in the message.",
        "The image you mentioned isn't attached.",
        "It seems the image was not provided.",
        "There isn't an image attached.",
        "I do not have the ability to see images.",
        "The image appears to be a solid gray square.",
        "Could you resend the image?",
        "The image hasn't been uploaded.",
        "The image you sent is completely black.",
        "Unfortunately there was no picture included with your question.",
        "I don't have access to any images.",
        "There doesn't seem to be an image attached.",
        "It looks like no image came through.",
        "Your image didn't come through.",
        "Image not found.",
        "No visual content is available.",
        "Without an image I can't tell.",
        "I am a text-based AI and can't view images.",
        "The figure is missing.",
    ],
)
def test_there_is_no_picture(text: str) -> None:
    assert no_picture(text)


@pytest.mark.parametrize(
    "text",
    [
        "I see no fracture in the image",
        "No, the image does not show a fracture.",
        "The image shows no pneumothorax.",
        "There is no mass in the image provided.",
        "The scan is not contrast-enhanced.",
        "No scan abnormality was shown.",
        "The image does not include the pelvis.",
        "I cannot see a fracture in the image.",
        "The image is black and white.",
        "The lungs are not visible in the image.",
        "No.",
        "There is no contrast in this scan",
        "The heart is not enlarged in the picture given.",
        "The image is not a CT; it is an X-ray.",
        "The x-ray is normal.",
    ],
)
def test_answers_about_a_picture(text: str) -> None:
    assert not no_picture(text)


def test_what_cannot_be_determined() -> None:
    for text in (
        "This cannot be determined, as there is no scale bar.",
        "It is not possible to say.",
        "I'm not sure.",
        "There is not enough information.",
    ):
        assert undetermined(text)
    assert not undetermined("No fracture is seen.")


@pytest.mark.parametrize("unit", ["no ", "the image is ", "cannot see ", "n't any ", "please upload ", " "])
def test_hostile_text_is_read(unit: str) -> None:
    no_picture(unit * (100_000 // len(unit)))
