"""Reading a choice out of a reply: what is read, what is not guessed, the published rules beside."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from evalkit.choice.extract import EXTRACTORS, extractor, letter, mirage, mmmu_pro
from evalkit.errors import UsageError

DRUGS = ("aspirin", "insulin", "metformin", "warfarin")


def read(reply: str, options: tuple[str, ...] = DRUGS) -> str | None:
    choice = letter(reply, options).choice
    return None if choice is None else "ABCDEFGHIJ"[choice]


@pytest.mark.parametrize(
    "reply",
    [
        "B",
        "b",
        "B.",
        "(B)",
        "[B]",
        "**B**",
        "$B$",
        "B) insulin",
        "B. insulin\nIt lowers glucose.",
        "Option B",
        "Answer: B",
        "answer: b",
        "**Answer:** B",
        "Answer: \\( B \\)",
        "\\[ \\text{Answer: B} \\]",
        "Answer:\n\nB",
        "The answer is B.",
        "The correct option is **B**, because A is no hormone.",
        "Final answer: (B) insulin",
        "the answer is B because (A) and (C) are tablets",
        "I choose option B.",
        "So \\boxed{B}.",
        "\\boxed{\\text{B}}",
        '{"step_by_step_thinking": "A is out, C too.", "answer_choice": "B"}',
        '{"answer": "B. insulin"}',
        "insulin",
        "Insulin.",
        "The answer is insulin.",
        "It is a hormone.\ninsulin",
        "A is a pain killer, C a tablet.\n\nB",
        "A. a pain killer\nB. a hormone\nC. a tablet\n\nB",
        "Only (B) is a hormone.",
        "That corresponds to option B.",
        "Answer: A? No. A is no hormone.\nAnswer: B",
        "First I thought the answer is C. The answer is B",
    ],
)
def test_what_is_read(reply):
    assert read(reply) == "B"


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " ",
        "I don't know.",
        "No response (bad request)",
        "'content'",
        "A patient with diabetes needs care.",
        "A/B",
        "A or B",
        "Answer: B, C",
        "The answer is either B or C.",
        "A and C",
        "(A) or (B)",
        "A. aspirin\nB. insulin\nC. metformin\nD. warfarin",
        "A\nB\nC\nD",
        "Answer: E",
        "E",
        '{"answer_choice": "None of the above"}',
        '{"answer_choice": "A/B"}',
        '{"answer_choice": ""}',
        '{"thinking": "(A) fits.", "answer_choice": "not listed"}',
        "The answer is (A).\n\\boxed{42}",
        "The answer is none of the above. (A) comes near.",
        "(B) is incorrect.",
        "Option B is not right.",
        "aspirin or insulin",
        "not insulin",
        "The answer is a hormone.",
        "I am sorry, but I cannot help.",
        "Answer: I cannot tell",
        "The answer is A drug that I do not know",
        "The response was filtered due to the prompt triggering our content policy (C",
    ],
)
def test_what_names_no_option_or_two_is_not_guessed(reply):
    assert read(reply) is None


def test_letters_that_are_words():
    ten = tuple(f"item {n}" for n in range(10))
    assert read("The answer is I.", ten) == "I"
    assert read("I. item 8", ten) == "I"
    assert read("I think it is item 8", ten) is None
    assert read("The answer is I am not sure", ten) is None
    assert read("A, because it is first.", ten) == "A"


def test_option_texts():
    nested = ("facial muscles", "facial muscles and taste", "taste")
    assert read("The answer is facial muscles and taste.", nested) == "B"
    assert read("Facial muscles", nested) == "A"
    assert read("the same", ("the same", "the same")) is None
    assert read("C", ("B", "C", "D")) == "C", "a letter is the option's letter: that is what was asked for"
    assert read("The answer is 4", ("42", "4")) == "B"
    assert read("Answer: $\\frac{1}{2}$", ("$\\frac{1}{3}$", "$\\frac{1}{2}$")) == "B"


@pytest.mark.parametrize(
    "piece",
    [
        "answer is ",
        "Answer:\n",
        "\\text{",
        "\\boxed{",
        "(A",
        "A\n",
        "is option ",
        '"answer": "',
        "  ",
        "'\"(",
        "_*$",
    ],
)
def test_a_hostile_megabyte_is_read(piece):
    assert read(piece * (1_000_000 // len(piece))) in (None, "A")


def test_the_version_is_part_of_the_name():
    assert letter.id == "letter.v2"
    assert extractor("letter.v2") is extractor("letter") is letter
    assert extractor("mirage") is mirage
    assert set(EXTRACTORS) == {"letter.v1", "letter.v2", "mirage.v1", "mirage.v2", "mmmu_pro.v1"}
    with pytest.raises(UsageError, match=r"no extractor 'leter'\. Did you mean 'letter\.v2'\?"):
        extractor("leter")


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_former_versions_read_as_they_did():
    former = extractor("letter.v1")
    assert former("The incorrect answer is A.", DRUGS).choice == 0
    assert former("答案：B", DRUGS).choice is None
    assert extractor("mirage.v1")("is:\n C", DRUGS).choice == 0


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("C", 2),
        ("C or A", 2),
        ("C and A", 2),
        ("C/A", 2),
        ("C, A", 2),
        ("I think option D, not : B", 3),
        ("is:C", 2),
        ("is: C", 2),
        ("is:  C", 2),
        ("is:\tC", 2),
        ("is:\n\n C", 2),
        ("C. insulin", 2),
        ('C"', 2),
        ("C: insulin", 2),
        ("C insulin", 0),
        ("c", 0),
        ("E", 0),
        ("no idea", 0),
        ('{"x": 1, "answer_choice": "A"} then {"answer_choice": "  D', 3),
    ],
)
def test_mirages_rule_by_its_source(reply, choice):
    """Worked out by hand from ``locate_answer``: its patterns in turn, any white space after a colon."""
    assert mirage(reply, DRUGS).choice == choice


@pytest.mark.parametrize("dataset", ["mmlu", "medqa"])
def test_mirage_published_rule_gives_the_published_table(data, dataset):
    """Every stored letter, and Table 6 of the paper to 0.01 (GPT-3.5 on MedQA: 64.89, 6 replies are lost)."""
    questions = {row["id"]: row for row in rows(data / "mirage" / f"{dataset}.questions.jsonl.gz")}
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row in rows(data / "mirage" / f"{dataset}.predictions.jsonl.gz"):
        question = questions[row["id"]]
        letters = sorted(question["options"])
        choice = mirage(row["raw"] or "", [question["options"][x] for x in letters]).choice
        parsed = None if choice is None else letters[choice]
        assert parsed == row["parsed"], row
        assert (parsed == question["answer"]) == row["correct"]
        total[row["system"]] += 1
        right[row["system"]] += row["correct"]
    table = json.loads((data / "mirage" / "published.json").read_text())
    for line in (line for line in table if line["dataset"] == f"mirage/{dataset}"):
        ours = 100 * right[line["system"]] / total[line["system"]]
        assert total[line["system"]] == line["n"]
        exception = (dataset, line["system"]) == ("medqa", "gpt-3.5-turbo-16k-0613/cot")
        assert ours == pytest.approx(line["recomputed" if exception else "published"], abs=0.01)


@pytest.mark.parametrize(("dataset", "unparsed", "credited"), [("mmlu", 140, 31), ("medqa", 127, 43)])
def test_our_rule_on_mirage_differs_only_where_there_is_no_answer(data, dataset, unparsed, credited):
    """Where both rules read a letter it is the same one. The rest the published rule counts as A (or as the
    first of several), and was right by luck ``credited`` times, also on the server's error messages."""
    questions = {row["id"]: row for row in rows(data / "mirage" / f"{dataset}.questions.jsonl.gz")}
    found: Counter[str] = Counter()
    for row in rows(data / "mirage" / f"{dataset}.predictions.jsonl.gz"):
        options = questions[row["id"]]["options"]
        choice = letter(row["raw"] or "", [options[x] for x in sorted(options)]).choice
        if choice is None:
            found["unparsed"] += 1
            found["credited"] += row["correct"]
        else:
            assert "ABCD"[choice] == row["parsed"], row
    assert (found["unparsed"], found["credited"]) == (unparsed, credited)


def test_mmmu_pro(data):
    """The published rule gives all flags; ours agrees but for direct replies whose text holds a letter.

    ``C. 2.86 A`` is C; the published rule takes the last letter that stands alone, A.
    """
    right: Counter[str] = Counter()
    differ: Counter[str] = Counter()
    for row in rows(data / "mmmu_pro" / "outputs.jsonl.gz"):
        options = [str(option) for option in row["options"]]
        run = row["run"].rpartition("_")[2]
        names = [
            None if (choice := rule(row["response"] or "", options).choice) is None else chr(65 + choice)
            for rule in (mmmu_pro, letter)
        ]
        assert names[0] == row["extracted"] or (names[0] is None and not row["correct"]), row
        right[run, "published"] += names[0] == row["answer"]
        right[run, "ours"] += names[1] == row["answer"]
        differ[run, "unparsed" if names[1] is None else "other letter"] += names[1] != row["extracted"]
        differ[run, "flag"] += (names[1] == row["answer"]) != row["correct"]
    figures = {key: round(100 * n / 1730, 2) for key, n in right.items()}
    assert (figures["cot", "published"], figures["direct", "published"]) == (55.03, 40.12)
    assert (figures["cot", "ours"], figures["direct", "ours"]) == (55.09, 42.83)
    assert (differ["cot", "other letter"], differ["cot", "unparsed"]) == (4, 4)
    assert (differ["direct", "other letter"], differ["direct", "unparsed"]) == (142, 13)
    assert differ["cot", "flag"] + differ["direct", "flag"] == 68
