"""The vision tasks: each layout of their data, gold and garbage, arms, slices and image reliance."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path

import PIL.Image
import pytest
from evalkit_tasks.multimodal import blood, task_blood_cells, task_math_vision, task_vqa_rad, vqa_rad

from evalkit.errors import UsageError
from evalkit.media.pixels import plain_png
from evalkit.model import Model
from evalkit.models.fake import FakeBackend
from evalkit.types import Image, Sample

GOLD, EMPTY = ("--model", "baseline:gold"), ("--model", "baseline:empty")


def scores(run: dict) -> dict[str, float]:
    return {name: m["value"] for name, m in run["metrics"].items()}


def jpeg(colour: str, size: tuple[int, int] = (32, 24)) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four authored questions about two pictures in VQA-RAD's local layout."""
    home = tmp_path / "vqa"
    (home / "images").mkdir(parents=True)
    (home / "images" / "a.jpg").write_bytes(jpeg("red"))
    (home / "images" / "b.jpg").write_bytes(jpeg("blue", (20, 20)))
    rows = [
        ("1", "a.jpg", "Is it red?", "Yes", "closed", ["PRES"]),
        ("2", "a.jpg", "Which side?", "Left", "closed", ["POS", "PRSE"]),
        ("3", "b.jpg", "What is it?", "a blue square", "open", ["ATRIB"]),
        ("4", "b.jpg", "Is it green?", "no", "closed", ["PRES"]),
    ]
    keys = ("id", "image", "question", "answer", "answer_type", "question_type")
    lines = [dict(zip(keys, row, strict=True)) | {"organ": "CHEST", "official_split": "test"} for row in rows]
    (home / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return home


def parquet(path: Path, rows: list[dict]) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def _hf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_hf")
def test_vqa_rad_from_both_layouts(folder: Path, tmp_path: Path) -> None:
    local = list(vqa_rad.questions(folder, "test"))
    assert [s.slices["question_type"] for s in local] == ["PRES", "several", "ATTRIB", "PRES"]
    assert local[0].cluster == local[1].cluster != local[2].cluster
    with pytest.raises(UsageError, match="has the splits test, and all"):
        list(vqa_rad.questions(folder, "train"))
    rows = [
        {"image": {"bytes": s.images[0].read(), "path": None}, "question": s.input, "answer": s.target}
        for s in local
    ]
    hub = list(vqa_rad.questions(parquet(tmp_path / "test.parquet", rows), "test"))
    assert [(s.input, s.target, s.images[0].sha256) for s in hub] == [
        (s.input, s.target, s.images[0].sha256) for s in local
    ]
    assert [s.slices["answer_type"] for s in hub] == ["closed", "open", "open", "closed"]


@pytest.mark.usefixtures("_hf")
def test_math_vision_from_the_hub_s_layout(tmp_path: Path) -> None:
    row = {
        "id": "7",
        "question": "How many?\n<image1>",
        "options": ["1", "2"],
        "image": "images/7.jpg",
        "decoded_image": {"bytes": jpeg("green"), "path": "7.jpg"},
        "solution": None,
        "answer": "B",
        "level": 2,
        "subject": "counting",
    }
    (sample,) = task_math_vision.problems(parquet(tmp_path / "m.parquet", [row]), "testmini")
    assert (sample.target, sample.choices, sample.images[0].read()) == ("B", ("1", "2"), jpeg("green"))
    assert sample.slices == {"level": "2", "subject": "counting", "form": "choice"}


@pytest.mark.usefixtures("_hf")
def test_blood_cells_from_the_hub_s_boxes(tmp_path: Path) -> None:
    row = {
        "image_id": 3,
        "image": {"bytes": jpeg("pink", (100, 80)), "path": None},
        "width": 100,
        "height": 80,
        "objects": {
            "id": [1, 2, 3],
            "area": [1, 1, 1],
            "category": [2, 1, 0],
            "bbox": [[70.0, 50.0, 20.0, 20.0], [0.0, 0.0, 9.0, 9.0], [5.0, 5.0, 4.0, 4.0]],
        },
    }
    made = {s.slices["about"]: s for s in blood.questions(parquet(tmp_path / "b.parquet", [row]), "test")}
    assert {about: s.target for about, s in made.items()} == {
        "wbc": "1",
        "plt": "yes",
        "nplt": "1",
        "rbc": "A",
        "pos": "D",
    }


def test_questions_made_from_boxes_are_those_of_the_local_file(data: Path) -> None:
    """The rules are the same: every question of the 150 real smears, with its answer."""
    boxes = [json.loads(line) for line in (data / "bccd" / "boxes.jsonl").read_text().splitlines()]
    wanted = [json.loads(line) for line in (data / "bccd" / "questions.jsonl").read_text().splitlines()]
    made = {}
    for row in boxes:
        cells = [
            blood.Cell(
                b["label"],
                (b["box"][0] + b["box"][2]) / 2 / row["width"],
                (b["box"][1] + b["box"][3]) / 2 / row["height"],
            )
            for b in row["boxes"]
        ]
        for question in blood.asked(f"bccd-{Path(row['image']).stem}", cells):
            made[question["id"]] = question
    assert made == {q["id"]: {name: value for name, value in q.items() if name != "image"} for q in wanted}


def test_gold_scores_full_marks_and_garbage_none_in_every_arm(evalkit, folder: Path) -> None:
    found = evalkit.json("run", "vqa_rad", "-p", f"data={folder}", *GOLD, *EMPTY)
    assert len(found["runs"]) == 8
    for run in found["runs"]:
        wanted = 1.0 if run["model"] == "baseline:gold" else 0.0
        assert set(scores(run)) == {"closed_accuracy", "open_recall", "open_llava_med_recall", "open_exact"}
        assert set(scores(run).values()) == {wanted}
    assert [one["looks"] for one in found["reliance"]] == [False, False], "neither looks at a picture"


def test_the_model_is_shown_what_the_arm_says(evalkit, scripted, folder: Path) -> None:
    """Bytes as the server received them; the probe's own requests come first."""
    real = {jpeg("red"), jpeg("blue", (20, 20))}
    for arm in ("real", "blank", "shuffled", "none"):
        scripted.bodies.clear()
        scripted.usage = lambda body: {"prompt_tokens": 10 + 16 * str(body["messages"]).count("'image_url':")}
        (run,) = evalkit.json(
            "run",
            f"vqa_rad[image={arm}]",
            "-p",
            f"data={folder}",
            "--cache",
            "off",
            "--model",
            f"openai:tiny@{scripted.url}",
        )["runs"]
        asked = [b for b in scripted.bodies if "Question:" in str(b["messages"])]
        shown = {_question(body): _pictures(body) for body in asked}
        assert run["status"] == "complete"
        assert len(asked) == 4
        if arm == "none":
            assert set(shown.values()) == {()}
        elif arm == "blank":
            sizes = {question: PIL.Image.open(io.BytesIO(p[0])).size for question, p in shown.items()}
            assert sizes == {
                "Is it red?": (32, 24),
                "Which side?": (32, 24),
                "What is it?": (20, 20),
                "Is it green?": (20, 20),
            }
            assert not real & {p[0] for p in shown.values()}
        elif arm == "real":
            assert shown["Which side?"] == (jpeg("red"),)
            assert shown["What is it?"] == (jpeg("blue", (20, 20)),)
        else:
            assert shown["Which side?"] == (jpeg("blue", (20, 20)),)
            assert shown["What is it?"] == (jpeg("red"),)


def _question(body: dict) -> str:
    content = body["messages"][0]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    return text.partition("Question: ")[2].strip()


def _pictures(body: dict) -> tuple[bytes, ...]:
    import base64

    content = body["messages"][0]["content"]
    parts = [] if isinstance(content, str) else content
    uris = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return tuple(base64.b64decode(uri.partition(",")[2]) for uri in uris)


COLOURS = """
import sys
from evalkit import Answer, Image, Requirements, Sample, task
from evalkit.media import ImageArm, image_arms, in_arm
from evalkit.media.pixels import plain_png
from evalkit.metrics import exact_match

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "yellow": (240, 230, 30)}

def samples(image: ImageArm = "real"):
    return in_arm(
        (Sample(f"{name}-{i}", "What colour is the image?", name, slices={"colour": name},
                images=(Image.of(plain_png(56 + i, 56, rgb)),))
         for i in range(4) for name, rgb in COLOURS.items()),
        image,
    )

@task(samples, metrics=[exact_match()], needs=Requirements(images=True))
@image_arms
async def colours(sample, model):
    return Answer(await model.generate(sample.input, images=sample.images, max_tokens=8))

@task(samples, metrics=[exact_match()])
async def two_colours(sample, model):
    other = Image.of(plain_png(56, 56, (5, 5, 5)))
    return Answer(await model.generate(sample.input, images=[*sample.images, other], max_tokens=8))
"""


def test_a_real_model_that_sees_is_told_from_one_that_does_not(
    evalkit, llava_server: str, tmp_path: Path
) -> None:
    """llama.cpp with a tiny LLaVA that names colours: the gap to every arm is clear; a baseline has none."""
    (tmp_path / "task_colours.py").write_text(COLOURS)
    found = evalkit.json(
        "run",
        "task_colours.py::colours",
        "--model",
        f"openai:tiny@{llava_server}",
        "--model",
        "baseline:echo",
    )
    tiny, blind = found["reliance"]
    assert (tiny["model"], tiny["looks"], blind["model"], blind["looks"]) == (
        "openai:tiny",
        True,
        "baseline:echo",
        False,
    )
    assert {gap["arm"]: gap["real"] for gap in tiny["gaps"]} == {"blank": 1.0, "shuffled": 1.0, "none": 1.0}
    for gap in tiny["gaps"]:
        assert gap["looks"], gap
        assert gap["difference"] > 0.4
    assert all(gap["ci"][0] <= 0 <= gap["ci"][1] for gap in blind["gaps"])
    shown = evalkit.json("show", tiny["runs"]["real"], "--reliance")["reliance"]
    assert shown == [tiny], "one run is enough to find its siblings"
    text = evalkit("show", "--reliance", blind["runs"]["blank"]).stdout
    assert "no score is significantly better with the real image" in text
    run = evalkit.json("show", tiny["runs"]["shuffled"])["runs"][0]
    assert run["slices"].keys() == {f"colour={c}" for c in ("blue", "green", "red", "yellow")}
    assert [some["exact_match"]["n"] for some in run["slices"].values()] == [4, 4, 4, 4]
    assert "colour=yellow" in evalkit("show", tiny["runs"]["real"]).stdout


def test_two_pictures_in_one_message_reach_a_real_model(evalkit, llava_server: str, tmp_path: Path) -> None:
    (tmp_path / "task_colours.py").write_text(COLOURS)
    one, two = (
        evalkit.json("run", f"task_colours.py::{name}", "--model", f"openai:tiny@{llava_server}")["runs"][0]
        for name in ("colours[image=real]", "two_colours")
    )
    assert two["status"] == "complete"
    assert two["tokens"]["prompt"] >= one["tokens"]["prompt"] + 16 * 16, "16 tokens for each further picture"


def test_a_picture_is_stored_once_and_every_request_names_it(evalkit, folder: Path) -> None:
    import sqlite3

    evalkit("run", "vqa_rad", "-p", f"data={folder}", *GOLD)
    sample = evalkit.json("show", "latest", "--sample", "1")
    assert "messages" in sample["requests"][0]
    with closing(sqlite3.connect(evalkit.folder / ".evalkit" / "evalkit.db")) as db, db:
        blobs = dict(db.execute("select sha256, data from blob"))
    assert set(blobs.values()) == {jpeg("red"), jpeg("blue", (20, 20)), *map(_grey, ((32, 24), (20, 20)))}
    assert all(Image.of(data).sha256 == name for name, data in blobs.items())


def test_what_was_made_for_the_server_is_stored_beside_the_original(evalkit, scripted, folder: Path) -> None:
    import sqlite3

    scripted.usage = lambda body: {"prompt_tokens": 10 + 16 * str(body["messages"]).count("'image_url':")}
    evalkit(
        "run",
        "vqa_rad[image=real]",
        "-p",
        f"data={folder}",
        "--model",
        f"openai:tiny@{scripted.url}?max_side=16",
    )
    request = evalkit.json("show", "latest", "--sample", "1")["requests"][0]
    picture, text = request["messages"][0]["content"]
    assert (picture["size"], picture["made"]) == (
        [16, 12],
        "image/jpeg to image/png; resized from 32x24 to 16x12",
    )
    assert text["text"].endswith("Question: Is it red?\n")
    with closing(sqlite3.connect(evalkit.folder / ".evalkit" / "evalkit.db")) as db, db:
        blobs = dict(db.execute("select sha256, data from blob"))
    assert PIL.Image.open(io.BytesIO(blobs[picture["sha256"]])).size == (16, 12)
    assert blobs[Image.of(jpeg("red")).sha256] == jpeg("red")


def _grey(size: tuple[int, int]) -> bytes:
    return plain_png(*size, (128, 128, 128))


def test_vqa_rad_on_the_real_pictures(evalkit, data: Path) -> None:
    """157 pictures, 1,132 questions, 669 of them closed."""
    found = evalkit.json(
        "run",
        "vqa_rad[image=real]",
        "-p",
        f"data={data / 'vqa_rad'}",
        "-p",
        "split=all",
        *GOLD,
        *EMPTY,
    )["runs"]
    gold, empty = found
    assert (gold["n"], set(scores(gold).values()), set(scores(empty).values())) == (1132, {1.0}, {0.0})
    assert gold["metrics"]["closed_accuracy"]["n"] == 669
    assert gold["metrics"]["open_recall"]["n"] == 463
    assert gold["slices"]["question_type=PRES"]["closed_accuracy"]["n"] > 300
    assert {part.partition("=")[0] for part in gold["slices"]} == {"answer_type", "question_type", "organ"}


def test_always_yes_is_a_baseline_and_no_more(evalkit, scripted, data: Path) -> None:
    scripted.usage = lambda body: {"prompt_tokens": 10 + 16 * str(body["messages"]).count("'image_url':")}
    found = evalkit.json(
        "run",
        "vqa_rad",
        "-p",
        f"data={data / 'vqa_rad'}",
        "-p",
        "image=real",
        "-p",
        "image=blank",
        "--model",
        f"openai:tiny@{scripted.url}",
    )
    real, blank = found["runs"]
    assert real["metrics"]["closed_accuracy"]["n"] == 148
    assert scores(real) == scores(blank)
    assert 0.35 < scores(real)["closed_accuracy"] < 0.6
    (reliance,) = found["reliance"]
    assert not reliance["looks"]
    gap = next(g for g in reliance["gaps"] if g["metric"] == "closed_accuracy")
    assert (gap["difference"], gap["method"]) == (0.0, "unvaried")
    assert gap["ci"][0] < 0 < gap["ci"][1]


def test_blood_cells_and_math_vision_on_the_real_pictures(evalkit, data: Path) -> None:
    for task, folder, n in (("blood_cells", "bccd", 597), ("math_vision", "math_v", 150)):
        gold, chance, empty = evalkit.json(
            "run",
            f"{task}[image=real]",
            "-p",
            f"data={data / folder}",
            *GOLD,
            "--model",
            "baseline:random",
            *EMPTY,
        )["runs"]
        assert gold["n"] == n
        assert set(scores(gold).values()) == {1.0}
        assert set(scores(empty).values()) == {0.0}
        if task == "blood_cells":
            assert scores(chance)["count_within"] == 0.0
            assert scores(chance)["accuracy"] == pytest.approx(1 / 3, abs=0.1)
        else:
            assert {"level=1", "form=free"} <= gold["slices"].keys()


async def _rendered(task, sample: Sample) -> list:
    model = Model(FakeBackend(lambda request: "A")).for_sample(sample)
    await task(sample=sample, model=model)
    content = model.describe(model.calls[0].request)["messages"][0]["content"]
    return [part["text"] if part["type"] == "text" else part["type"] for part in content]


async def test_the_prompts_as_a_model_sees_them() -> None:
    """Pinned: a change of a prompt changes scores, and must be meant."""
    shown = {"images": (Image.of(plain_png(4, 4, (1, 2, 3))),)}
    assert await _rendered(task_vqa_rad.vqa_rad, Sample("1", "Is it red?", "yes", **shown)) == [
        "image",
        "Look at the image and answer the question with a single word or a short phrase.\n"
        "Answer a yes-or-no question with yes or no.\n\nQuestion: Is it red?\n",
    ]
    choice = Sample("2", "Where?", "A", choices=("left", "right"), slices={"answer_type": "choice"}, **shown)
    assert await _rendered(task_blood_cells.blood_cells, choice) == [
        "image",
        "Where?\nA. left\nB. right\nAnswer with the letter of the right option only.\n",
    ]
    problem = Sample("3", "How long is\n<image1>\nthis?", "B", choices=("$1$", "$2$"), **shown)
    assert await _rendered(task_math_vision.math_vision, problem) == [
        "How long is",
        "image",
        "this?\n(A) $1$\n(B) $2$\nSolve the problem step by step. Then give the final answer as "
        "\\boxed{the letter of the right option}.",
    ]


@pytest.mark.parametrize("task", ["vqa_rad", "blood_cells", "math_vision"])
def test_a_row_of_the_hubs_layout_without_its_picture_is_named(evalkit, tmp_path: Path, task: str) -> None:
    field = "decoded_image" if task == "math_vision" else "image"
    row = {
        "id": "1",
        "question": "Is it red?",
        "answer": "yes",
        "options": [],
        "level": 1,
        "subject": "algebra",
        "image_id": 1,
        field: {"bytes": None, "path": "gone.png"},
        "width": 8,
        "height": 8,
        "objects": {"category": [1], "bbox": [[1.0, 1.0, 2.0, 2.0]]},
    }
    path = parquet(tmp_path / "rows.parquet", [row])
    said = evalkit("run", f"{task}[image=real]", "-p", f"data={path}", *GOLD, code=2).stderr
    assert f"rows.parquet, row 1: '{field}' holds no bytes, only the name of a file" in said
