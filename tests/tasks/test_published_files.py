"""Data sets as they are published: the files of their repositories, any split, and any single file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from evalkit_tasks.biomedical import scifact
from evalkit_tasks.multimodal import vqa_rad

from evalkit.collection.targets import collect, iter_tasks
from evalkit.errors import UsageError
from evalkit.media.pixels import plain_png
from evalkit.types import Sample
from tests.data.sheets import write_sheet

TASKS = {task.name: task for task in iter_tasks(collect([]))}


def samples(task: str, *arguments: Any, **params: Any) -> list[Sample]:
    read: Callable[..., Iterator[Sample]] = TASKS[task].samples
    return list(read(*arguments, **params))


def test_mts_dialog_s_csv_files(tmp_path: Path) -> None:
    folder = tmp_path / "Main-Dataset"
    folder.mkdir()
    for name, text in (
        ("MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv", "Cough."),
        ("MTS-Dialog-TestSet-2-MEDIQA-Sum-2023.csv", "Fever."),
        ("MTS-Dialog-ValidationSet.csv", "Pain."),
        ("MTS-Dialog-TrainingSet.csv", "Rash."),
    ):
        dialogue = '"Doctor: How are you, today?\r\nPatient: Not well."'
        (folder / name).write_text(
            f"ID,section_header,section_text,dialogue\r\n0,genhx ,{text},{dialogue}\r\n"
        )
    for split, text in (
        ("test1", "Cough."),
        ("test2", "Fever."),
        ("validation", "Pain."),
        ("train", "Rash."),
    ):
        for data in (tmp_path, folder):
            (sample,) = samples("mts_dialog", data=data, split=split)
            assert (sample.id, sample.target, sample.slices) == ("0", text, {"section": "GENHX"})
            assert sample.input.splitlines() == ["Doctor: How are you, today?", "Patient: Not well."]
    file = folder / "MTS-Dialog-TestSet-2-MEDIQA-Sum-2023.csv"
    assert samples("mts_dialog", data=file)[0].target == "Fever."
    with pytest.raises(UsageError, match="it has the splits test1, test2, validation, train"):
        samples("mts_dialog", data=folder, split="test3")


@pytest.mark.parametrize(
    ("split", "set_", "questions", "answers"),
    [
        ("test", "TestSet", "MAS_TestSet_shortQuestions", "MAS_TestSet_Answers"),
        ("validation", "ValidationSet", "VAlidationSet_ShortQuestions", "ValidationSet_Answers"),
    ],
)
def test_mediqa_mas_s_sheet_and_text_files(
    tmp_path: Path, split: str, set_: str, questions: str, answers: str
) -> None:
    folder = tmp_path / "Task2" / "Set"
    folder.mkdir(parents=True)
    head = "MEDIQA2021_Task2_"
    (folder / f"{head}{questions}.txt").write_text("5||Is there a cure?\n24||What helps?\n")
    (folder / f"{head}{set_}_MultiAbstrativeSummaries.txt").write_text("5||No cure.\n24||Rest helps.\n")
    (folder / f"{head}{set_}_MultiExtractiveSummaries.txt").write_text("5||There is no cure.\n24||Rest.\n")
    rows = [["Question_ID", "Answer_ID", "Answer"], [5, "5_Answer1", "There is no cure."]]
    rows += [[24, "24_Answer1", "Rest."], [24, "24_Answer2", "Sleep & rest."]]
    sheet = write_sheet(folder / f"{head}{answers}.xlsx", rows)
    for data in (tmp_path / "Task2", folder, sheet):
        first, second = samples("mediqa_mas", data=data, split=split)
        assert (first.id, first.input, first.target) == ("5", "Is there a cure?", "No cure.")
        assert second.metadata["answers"] == [
            {"answer_id": "24_Answer1", "text": "Rest."},
            {"answer_id": "24_Answer2", "text": "Sleep & rest."},
        ]
    extractive = samples("mediqa_mas", data=folder, split=split, reference="extractive")
    assert [sample.target for sample in extractive] == ["There is no cure.", "Rest."]


def test_mediqa_mas_in_lines_by_split_and_by_file(tmp_path: Path) -> None:
    row = {"id": 5, "question": "q", "answers": [], "abstractive": "a", "extractive": "e"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    assert samples("mediqa_mas", data=tmp_path, split="test")[0].target == "a"
    assert samples("mediqa_mas", data=tmp_path / "test.jsonl")[0].id == "5"
    with pytest.raises(UsageError, match="it has the splits test"):
        samples("mediqa_mas", data=tmp_path)


def test_mediqa_qs_and_meqsum_s_sheets(tmp_path: Path) -> None:
    rows = [["#", "NLM Question", "Summary"], [1, "I have had a cough\nfor weeks.", "What is it?"]]
    test = write_sheet(tmp_path / "MEDIQA2021-Task1-TestSet-ReferenceSummaries.xlsx", rows)
    write_sheet(
        tmp_path / "MeQSum_ACL2019_BenAbacha_Demner-Fushman.xlsx",
        [["File", "CHQ", "Summary"], ["1-13.xml.txt", "My knee hurts.", "Why?"]],
    )
    for params in ({"data": tmp_path, "part": "mediqa_qs_test"}, {"data": test}):
        (sample,) = samples("meqsum", **params)
        assert (sample.input, sample.target) == ("I have had a cough\nfor weeks.", "What is it?")
    assert [sample.id for sample in samples("meqsum", data=tmp_path)] == ["1-13.xml.txt"]
    with pytest.raises(UsageError, match="it has the splits meqsum, mediqa_qs_test"):
        samples("meqsum", data=tmp_path, part="mediqa_qs_train")


def test_scifact_s_claims_of_any_split(tmp_path: Path) -> None:
    evidence = {"31": [{"sentences": [1], "label": "SUPPORT"}]}
    for split, id_ in (("train", 2), ("dev", 1)):
        claim = {"id": id_, "claim": "Zinc helps.", "evidence": evidence, "cited_doc_ids": [31]}
        (tmp_path / f"claims_{split}.jsonl").write_text(json.dumps(claim) + "\n")
    document = {
        "doc_id": 31,
        "title": "Zinc",
        "abstract": ["We gave zinc.", "It helped."],
        "structured": False,
    }
    (tmp_path / "corpus.jsonl").write_text(json.dumps(document) + "\n")
    file = tmp_path / "claims_train.jsonl"
    for found in (list(scifact.claims(tmp_path, "train")), list(scifact.claims(file))):
        assert [(s.id, s.target, s.relevance) for s in found] == [("2", "SUPPORT", {"31": 1})]
        assert found[0].metadata["evidence"] == {"31": ("SUPPORT", [[1]])}
    for data in (tmp_path, file):
        assert scifact.abstracts(data)["31"].shown(1) == "[1] Zinc. (1) We gave zinc. (2) It helped."
    assert [s.id for s in scifact.claims(tmp_path)] == ["1"]
    with pytest.raises(UsageError, match="it has the splits"):
        list(scifact.claims(tmp_path, "test"))


def test_aci_bench_s_json_and_csv_files(tmp_path: Path) -> None:
    row = {"src": "[doctor] hi", "tgt": "CHIEF COMPLAINT\n\nCough.", "file": "D2N168-virtassist"}
    (tmp_path / "clef_taskC_test3_full.json").write_text(json.dumps({"data": [row]}))
    (tmp_path / "valid.csv").write_text(
        'dataset,encounter_id,dialogue,note\naci,D2N001,[doctor] hi,"Note, one."\n'
    )
    (sample,) = samples("aci_bench", data=tmp_path, split="test3")
    assert (sample.id, sample.slices, sample.target) == (row["file"], {"subset": "virtassist"}, row["tgt"])
    (sample,) = samples("aci_bench", data=tmp_path, split="valid")
    assert (sample.id, sample.slices, sample.target) == ("D2N001", {"subset": "aci"}, "Note, one.")


RAD = [
    {"qid": 1, "image_name": "a.jpg", "question": "Is it left?", "answer": "Yes", "answer_type": "CLOSED "},
    {"qid": 2, "image_name": "b.jpg", "question": "How many?", "answer": 3, "answer_type": "OPEN"},
]


def test_vqa_rad_s_published_file_and_replies_without_pictures(tmp_path: Path) -> None:
    for row, phrase in zip(RAD, ("test_freeform", "para"), strict=True):
        row |= {"phrase_type": phrase, "question_type": "PRES, POS", "image_organ": "HEAD"}
    file = tmp_path / "VQA_RAD Dataset Public.json"
    file.write_text(json.dumps(RAD))
    folder = tmp_path / "VQA_RAD Image Folder"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(plain_png(4, 4, (1, 2, 3)))
    for data in (file, tmp_path):
        (sample,) = vqa_rad.questions(data, "test")
        assert (sample.id, sample.target, len(sample.images)) == ("1", "Yes", 1)
        assert sample.slices == {"answer_type": "closed", "question_type": "several", "organ": "HEAD"}
    with pytest.raises(OSError, match=r"b\.jpg"):
        list(vqa_rad.questions(file, "train"))
    (sample,) = vqa_rad.questions(file, "train", pictures=False)
    assert (sample.id, sample.target, sample.images, sample.cluster) == ("2", "3", (), "b.jpg")
    with pytest.raises(UsageError, match="has the splits test, train, and all"):
        list(vqa_rad.questions(file, "dev"))


def test_math_vision_s_published_files(evalkit: Any, tmp_path: Path) -> None:
    problem = {
        "question": "How many?\n<image1>",
        "options": ["1", "2"],
        "answer": "B",
        "level": 1,
        "subject": "counting",
    }
    data = tmp_path / "data"
    (tmp_path / "images").mkdir()
    data.mkdir()
    (tmp_path / "images" / "4.jpg").write_bytes(plain_png(4, 4, (1, 2, 3)))
    lines = [json.dumps({"id": str(n), "image": f"images/{n}.jpg", **problem}) for n in (4, 5)]
    (data / "testmini.jsonl").write_text("\n".join(lines))
    with pytest.raises(UsageError, match=r"problem 5 has no figure images/5\.jpg beside it"):
        samples("math_vision", True, data=data)
    assert [s.id for s in samples("math_vision", False, data=data)] == ["4", "5"]
    replies = [{"qid": n, "choices": [{"text": text}]} for n, text in ((4, "\\boxed{B}"), (5, "It is B."))]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in replies))
    arguments = ("math_vision[image=real]", "mine.jsonl", "-p", f"data={data}")
    (run,) = evalkit.json("score", *arguments, "--fields", "id=qid,prediction=choices.0.text")["runs"]
    scores = {name: metric["value"] for name, metric in run["metrics"].items()}
    assert (run["n"], scores) == (2, {"math_answer": 0.5, "math_vision_official": 1.0})
