"""Image arms: which picture stands in place of the real one, and where pictures stand in a text."""

from __future__ import annotations

import PIL.Image
import PIL.ImageOps
import pytest
from msgspec.structs import replace

from evalkit.errors import SetupError, UsageError
from evalkit.media import in_arm, interleaved
from evalkit.media.pixels import plain_png
from evalkit.types import Image, Sample, Text
from tests.media.pictures import gradient, ready, saved, shown

RED, GREEN = Image.of(plain_png(9, 9, (255, 0, 0))), Image.of(plain_png(9, 9, (0, 255, 0)))


def test_pictures_stand_where_the_text_names_them() -> None:
    message = interleaved("Is <image2> darker than\n<image1>\nor not?", [RED, GREEN])
    assert message.content == (Text("Is"), GREEN, Text("darker than"), RED, Text("or not?"))
    assert interleaved("First <image>, then <image>", [RED, GREEN]).content == (
        Text("First"),
        RED,
        Text(", then"),
        GREEN,
    )
    assert interleaved("What is this?", [RED, GREEN]).content == (RED, GREEN, Text("What is this?"))
    assert interleaved("Again <image1> <image1>", [RED]).content == (Text("Again"), RED)
    assert interleaved("Look: <image1>", []).content == (Text("Look:"),)


def test_markers_may_count_from_0() -> None:
    for text in ("Is <image 0> darker than <image 1>?", "Is <image_0> darker than <image_1>?"):
        content = (Text("Is"), RED, Text("darker than"), GREEN, Text("?"))
        assert interleaved(text, [RED, GREEN]).content == content
    assert interleaved("See <image 0>.", [RED, GREEN]).content == (GREEN, Text("See"), RED, Text("."))
    assert interleaved("See <image 0>.", []).content == (Text("See ."),)
    with pytest.raises(UsageError, match="names <image 0> and <image 2>, and there are 2 pictures"):
        interleaved("Of <image 0>, <image 1>, <image 2>", [RED, GREEN])


def samples(n: int = 12) -> list[Sample]:
    return [
        Sample(f"s{i}", "?", images=(Image.of(plain_png(20 + i, 10, (i, 0, 0))),), cluster=f"c{i // 2}")
        for i in range(n)
    ]


def test_arms() -> None:
    real = samples()
    assert list(in_arm(real, "real")) == real
    assert all(sample.images == () for sample in in_arm(real, "none"))
    for before, after in zip(real, in_arm(real, "blank"), strict=True):
        (grey,) = after.images
        assert shown(grey).size == shown(before.images[0]).size
        assert shown(grey).getcolors() == [(grey.size[0] * grey.size[1], (128, 128, 128))]
        assert (after.id, after.cluster, after.input) == (before.id, before.cluster, before.input)


def test_a_shuffled_picture_is_another_samples_and_always_the_same_one() -> None:
    real = samples()
    shuffled = list(in_arm(real, "shuffled"))
    pool = {sample.images[0].sha256 for sample in real}
    for before, after in zip(real, shuffled, strict=True):
        assert after.images[0].sha256 != before.images[0].sha256
        assert after.images[0].sha256 in pool
    assert [s.images for s in in_arm(list(reversed(real)), "shuffled")][::-1] == [s.images for s in shuffled]
    assert len({s.images[0].sha256 for s in shuffled}) > 4
    with pytest.raises(SetupError, match="pictures of other samples"):
        list(in_arm([Sample("a", "?", images=(RED,)), Sample("b", "?", images=(RED,))], "shuffled"))


def test_a_size_that_only_pillow_can_tell_is_kept_by_blank() -> None:
    tiff = saved(gradient(33, 21), "TIFF")
    (sample,) = in_arm([Sample("a", "?", images=(tiff,))], "blank")
    assert shown(sample.images[0]).size == (33, 21)


def test_a_shuffled_picture_never_comes_from_the_same_patient() -> None:
    patients = [
        Sample(f"{patient}-{i}", "?", images=(Image.of(plain_png(20 + i, 10 + patient, (9, 9, 9))),))
        for patient in range(3)
        for i in range(8)
    ]
    clustered = [replace(sample, cluster=f"p{sample.id[0]}") for sample in patients]
    owner = {sample.images[0].sha256: sample.cluster for sample in clustered}
    for sample in in_arm(clustered, "shuffled"):
        assert owner[sample.images[0].sha256] != sample.cluster
    one = [replace(sample, cluster="the same") for sample in patients]
    with pytest.raises(SetupError, match="other clusters than '0-0'"):
        list(in_arm(one, "shuffled"))


def test_the_shuffled_pictures_of_one_sample_differ() -> None:
    """Before and after would otherwise be one picture."""
    pairs = [
        Sample(f"s{i}", "?", images=tuple(Image.of(plain_png(8, 8, (i, j, 0))) for j in range(2)))
        for i in range(3)
    ]
    for sample in in_arm(pairs, "shuffled"):
        assert len({image.sha256 for image in sample.images}) == 2
    one, two = in_arm([pairs[0], replace(pairs[1], images=pairs[1].images[:1])], "shuffled")
    assert [len(one.images), len(two.images)] == [2, 1], "the only other picture is shown twice"


def test_pictures_that_two_patients_share_are_neither_ones_shuffled_picture() -> None:
    shared, own, other = (Image.of(plain_png(8, 8, (i, i, i))) for i in range(3))
    samples = [
        Sample("a", "?", images=(shared, own), cluster="p"),
        Sample("b", "?", images=(shared, other), cluster="q"),
    ]
    first, second = in_arm(samples, "shuffled")
    assert {image.sha256 for image in first.images} == {other.sha256}
    assert {image.sha256 for image in second.images} == {own.sha256}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "MPO"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("limits", [{}, {"max_side": 17}])
def test_a_blank_picture_has_the_size_of_the_real_one_when_it_is_sent(
    kind: str, orientation: int, limits: dict
) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"save_all": True, "append_images": [gradient(8, 6)]} if kind == "MPO" else {}
    real = saved(gradient(), kind, exif=exif, **options)
    (sample,) = in_arm([Sample("a", "?", images=(real,))], "blank")
    assert shown(ready(sample.images[0], **limits)).size == shown_size(real, **limits)


def shown_size(image: Image, **limits) -> tuple[int, int]:
    sent = ready(image, **limits)
    return sent.size or PIL.ImageOps.exif_transpose(shown(sent)).size


def test_a_blank_fax_is_as_high_as_the_real_one() -> None:
    fax = saved(PIL.Image.new("1", (80, 40)), "TIFF", dpi=(204, 98))
    (sample,) = in_arm([Sample("a", "?", images=(fax,))], "blank")
    assert sample.images[0].size == (80, 83)


def test_what_cannot_be_sent_has_no_blank_picture() -> None:
    with pytest.raises(SetupError, match=r"image=blank .* cannot be read as a picture"):
        list(in_arm([Sample("a", "?", images=(Image.of(b"no picture"),))], "blank"))
