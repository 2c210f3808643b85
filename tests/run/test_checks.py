"""Samples and answers whose fields hold values of a wrong type: refused by id and field, in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evalkit import Answer, Image, Response, Sample
from evalkit.errors import SetupError, StoreError
from evalkit.run.checks import ANSWER
from evalkit.store import open_store
from evalkit.store.codec import pack, unpack
from tests.run.test_fingerprint import of

WRONG_SAMPLES = {
    "relevance": (["d1", "d2"], {"d1": 0.5}, {1: 1}, {"d1": True}, None),
    "target": (3, None, ("a", 1), {"a"}),
    "answer": ("A", 1.0, True, None, ("A",)),
    "choices": ("AB", (1, 2), None),
    "images": (("scan.png",), "scan.png", None),
    "slices": ({"year": 2024}, ["test"], {1: "a"}),
    "metadata": (["note"], {1: "note"}, None),
    "cluster": (7, ("p1",)),
    "input": (None, 5, ["q"]),
}


@pytest.mark.parametrize("field", WRONG_SAMPLES)
async def test_a_sample_of_a_wrong_type_is_refused_with_its_id_and_field(field: str) -> None:
    for value in WRONG_SAMPLES[field]:
        given = {"id": "s7", "input": "q"} | {field: value}
        for before in ([Sample("s1", "q")], [Sample(f"s{n}", "q", ("a",), {"d": 1}) for n in range(3)]):
            with pytest.raises(SetupError, match=f"the {field} of sample 's7' is .* and must be"):
                await of([*before, Sample(**given)])


@pytest.mark.parametrize("name", ["", None, 7])
async def test_an_id_is_a_string_that_is_not_empty(name: object) -> None:
    with pytest.raises(
        SetupError, match=rf"the id of sample {name!r} is .* and must be a string that is not empty"
    ):
        await of([Sample(name, "q")])


async def test_metadata_that_no_store_can_keep_is_refused_before_any_call() -> None:
    for value in (object(), {"a": lambda: 1}, 2**70, {1: 2}):
        with pytest.raises(SetupError, match="the metadata of sample 's1' cannot be stored"):
            await of([Sample("s1", "q", metadata={"value": value})])


async def test_what_the_store_turns_into_plain_values_is_taken(tmp_path: Path) -> None:
    metadata = {
        "array": np.arange(3),
        "number": np.float32(0.5),
        "path": tmp_path,
        "none": None,
    }
    assert (await of([Sample("s1", "q", ["a", "b"], choices=["x", "y"], metadata=metadata)])).n == 1


async def test_a_file_that_is_no_picture_or_is_gone_is_refused(tmp_path: Path) -> None:
    text, gone = tmp_path / "notes.png", tmp_path / "gone.png"
    text.write_text("no picture")
    gone.write_bytes(b"\x89PNG\r\n\x1a\n")
    for picture in (Image.open(text), Image.of(b"no picture")):
        with pytest.raises(SetupError, match=r"sample 's1': .* is no picture"):
            await of([Sample("s1", "q", images=(picture,))])
    picture = Image.open(gone)
    gone.unlink()
    with pytest.raises(SetupError, match=r"gone\.png cannot be read: No such file"):
        await of([Sample("s1", "q", images=(picture,))])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(text=5), "text is 5 (int), and must be a string: text=str(…)"),
        (Answer(text="a", choice="B"), "choice is 'B' (str), and must be the number of an option, or None"),
        (Answer(text="a", ranking=[1, 2]), "ranking is [1, 2] (list), and must be a tuple of document ids"),
        (Answer(text="a", passages=("p1",), ranking=None), "passages is ('p1',) (tuple), and must be"),
        (Answer(text="a", metadata=[]), "metadata is [] (list), and must be a dictionary"),
        (Answer(text="a", status="ok"), "status is 'ok' (str), and must be a Status"),
        (Answer("a"), "response is 'a' (str), and must be what model.generate() returned"),
        (Answer(text="a", passages=["p1"]), "passages is ('p1',) (tuple), and must be a tuple of Passage"),
        (Answer(text="a", passages=5), "passages is 5 (int), and must be a tuple of Passage"),
        (Answer("a", text="a"), "response is 'a' (str), and must be what model.generate() returned"),
    ],
)
def test_an_answer_of_a_wrong_type_is_named(answer: Answer, said: str) -> None:
    assert said in " ".join(ANSWER.wrong(answer) or ())
    assert ANSWER.wrong(Answer(Response(text="a"), ranking=("d1",), metadata={"a": 1})) is None


TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample(str(i), f"q{i}", "yes") for i in range(4)], metrics=[exact_match()])
async def answers(sample, model):
    await model.generate(sample.input)
    if sample.id == "1":
        return Answer(text=5)
    if sample.id == "2":
        return Answer(text="yes", metadata={"a": object()})
    return Answer(text="yes")

@task([Sample("1", "q", "yes"), Sample("2", "q", "yes", relevance=["d1"])], metrics=[exact_match()])
async def samples(sample, model):
    return Answer(await model.generate(sample.input))
"""


def test_a_wrong_answer_is_the_error_of_its_sample_and_a_wrong_sample_begins_no_run(
    evalkit, tmp_path
) -> None:
    (tmp_path / "task_types.py").write_text(TASK)
    document = evalkit.json("run", "task_types.py", "--model", "baseline:gold", code=1)
    (run,) = document["runs"]
    assert (run["task"], run["counts"]) == ("answers", {"error": 2, "ok": 2})
    assert run["errors"]["TypeError"]["n"] == 2
    assert "the relevance of sample '2' is ['d1'] (list)" in document["errors"][0]
    shown = evalkit("show", run["id"], "--sample", "2").stdout
    assert "cannot be stored: a object" in shown


def test_a_stored_sample_of_a_wrong_type_is_one_message_with_the_fix(tmp_path: Path) -> None:
    body = pack({"id": "s1", "input": "q", "relevance": ["d1"]})
    with pytest.raises(StoreError, match=r"a stored Sample cannot be read: .*run the task anew"):
        unpack(body, Sample)
    assert open_store(tmp_path / "evalkit.db").runs.find() == []
