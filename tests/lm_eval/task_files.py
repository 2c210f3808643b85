"""Tasks in lm-eval's own YAML, over a few documents written here, such that its common filters and metrics
all occur; and some over the real data."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from pathlib import Path
from typing import Any

import yaml

FACTS = [
    ("What is the capital of France?", ["Paris", "Rome", "New York"], 0),
    ("What is the capital of Italy?", ["Paris", "Rome", "Tokyo"], 1),
    ("What is the capital of Japan?", ["Bonn", "Rome", "Tokyo"], 2),
    ("Which organ pumps blood?", ["the heart", "a lung", "the left kidney"], 0),
    ("Which organ makes bile?", ["the spleen", "the liver", "a lung"], 1),
    ("Which vitamin prevents scurvy?", ["vitamin A", "vitamin D", "vitamin C"], 2),
    ("What treats high blood pressure?", ["lisinopril", "ibuprofen", "water"], 0),
    ("What lowers blood sugar?", ["caffeine", "insulin", "a very long walk home"], 1),
    ("What is 2 plus 2?", ["3", "22", "4"], 2),
    ("What is 7 plus 6?", ["13", "12", "76"], 0),
    ("What is 10 minus 3?", ["4", "7", "13"], 1),
    ("How many chambers has the heart?", ["two", "three", "four"], 2),
    ("Which gas do lungs take up?", ["oxygen", "helium", "carbon dioxide"], 0),
    ("Which cells carry oxygen?", ["platelets", "red cells", "neurons"], 1),
    ("Which test shows a broken bone?", ["an ECG", "a blood count", "an X-ray"], 2),
    ("What does aspirin relieve?", ["pain", "hunger", "thirst"], 0),
    ("What is inflamed in hepatitis?", ["the colon", "the liver", "the skin"], 1),
    ("What is inflamed in nephritis?", ["the eye", "the brain", "the kidney"], 2),
    ("Which drug is an antibiotic?", ["amoxicillin", "paracetamol", "insulin"], 0),
    ("What is measured in mmHg?", ["weight", "blood pressure", "temperature"], 1),
]
SHOTS = [
    ("What is the capital of Spain?", ["Madrid", "Oslo", "Lima"], 0),
    ("Which organ digests food?", ["the ear", "the stomach", "the knee"], 1),
    ("What is 1 plus 1?", ["11", "1", "2"], 2),
    ("Which bone protects the brain?", ["the skull", "the rib", "the femur"], 0),
    ("What is inflamed in gastritis?", ["the lung", "the stomach", "the skin"], 1),
    ("How many lungs do people have?", ["one", "three", "two"], 2),
]
PROSE = (
    "The heart pumps blood to the lungs and to the body. The liver makes bile, and the kidney makes urine. "
    "Red cells carry oxygen from the lungs to every organ, and carbon dioxide back again. "
)
SHOWN = {"red": (200, 30, 40), "green": (40, 160, 60), "blue": (30, 60, 210), "yellow": (230, 210, 40)}
UTILS = '''
def pictures(doc):
    from PIL import Image

    return [Image.open(path) for path in doc["pictures"]]


def last_word(resps, docs):
    """A custom filter: the last word of each reply."""
    return [[(text.split() or ["none"])[-1].strip(".,!") for text in reply] for reply in resps]


def scores(doc, results):
    """Custom scores: one for the mean, one for the median."""
    return {"hit": float(doc["answer"].split()[-1] == results[0]), "length": float(len(results[0]))}


def keep_short(dataset):
    return dataset.filter(lambda doc: len(doc["question"]) < 32)
'''


def _row(index: int, fact: tuple[str, list[str], int]) -> dict[str, Any]:
    question, choices, gold = fact
    first = choices[(gold + index) % 3]
    return {
        "id": index,
        "question": question,
        "choices": choices,
        "gold": gold,
        "answer": choices[gold],
        "also": [choices[gold], choices[gold].upper()],
        "claim": f"{question} It is {first}.",
        "right": "yes" if first == choices[gold] else "no",
        "blank": f"{question} The answer is _ and nothing else.",
        "text": PROSE * (index % 3 + 1) + f"{question} {choices[gold]}.",
    }


def rows() -> list[dict[str, Any]]:
    """The documents that are evaluated."""
    return [_row(index, fact) for index, fact in enumerate(FACTS)]


def picture_rows(folder: Path) -> list[dict[str, Any]]:
    """Questions about one or two pictures, drawn here: PNG and JPEG, in colour, grey and by palette."""
    from PIL import Image, ImageDraw

    made = []
    for index, (first, second) in enumerate(itertools.product(SHOWN, repeat=2)):
        paths = []
        for place, colour in enumerate((first, second)[: 1 + index % 2]):
            picture = Image.new("RGB", (24, 16 + index), SHOWN[colour])
            ImageDraw.Draw(picture).ellipse((4, 4, 16, 14), fill="white", outline="black")
            path = folder / f"shown-{index}-{place}.{('png', 'jpg')[place]}"
            picture.convert(("RGB", "P", "L")[index % 3] if place == 0 else "RGB").save(path)
            paths.append(str(path))
        question = f"Which colour has picture {index} of these, <image> here?"
        made.append({"question": question, "answer": first, "pictures": paths})
    return made


def answers() -> dict[str, str]:
    """The right answers by question, for a server that knows them."""
    shown = itertools.product(SHOWN, repeat=2)
    return {row["question"]: row["answer"] for row in rows()} | {
        f"Which colour has picture {index} of these,": first for index, (first, _) in enumerate(shown)
    }


def known() -> list[str]:
    """What the server's model has by heart: half of the answers, in the words of the prompts."""
    half = rows()[::2]
    claims = [f"{r['claim']}\nTrue? {r['right']}" for r in half]
    return [f"Question: {r['question']}\nAnswer: {r['answer']}\n\n" for r in half] + claims + [PROSE * 3]


def corpus() -> list[str]:
    """All words that occur."""
    from evalkit.models.openai.logprobs_probe import PROBE_TEXT

    shots = [_row(i, f) for i, f in enumerate(SHOTS)]
    words = [" ".join(map(str, row.values())) for row in rows() + shots]
    return [*words, *known(), PROBE_TEXT, "system user assistant Answer the question in a word."]


def write(folder: Path) -> None:
    """All task files and their data."""
    folder.mkdir(parents=True, exist_ok=True)
    _jsonl(folder / "qa.jsonl", rows())
    _jsonl(folder / "shots.jsonl", [_row(i, f) for i, f in enumerate(SHOTS)])
    (folder / "utils.py").write_text(UTILS)
    base = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"train": str(folder / "shots.jsonl"), "test": str(folder / "qa.jsonl")}
        },
        "training_split": "train",
        "fewshot_split": "train",
        "test_split": "test",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{answer}}",
        "metadata": {"version": 1.0},
    }
    for name, own in {**_generated(), **_chosen(), **_scored()}.items():
        (folder / f"{name}.yaml").write_text(_dump({"task": name, **base, **own}))
    _jsonl(folder / "shown.jsonl", picture_rows(folder))
    shown = {"dataset_kwargs": {"data_files": {"test": str(folder / "shown.jsonl")}}, "fewshot_split": "test"}
    for name, own in _shown().items():
        own = {k: v for k, v in {**base, **shown, **own}.items() if k != "training_split"}
        (folder / f"{name}.yaml").write_text(_dump({"task": name, **own}))
    for name, group in _groups().items():
        (folder / f"{name}.yaml").write_text(_dump({"group": name, **group}))


def _metric(name: str, aggregation: str = "mean", better: bool = True, **options: Any) -> dict[str, Any]:
    return {"metric": name, "aggregation": aggregation, "higher_is_better": better, **options}


def _filter(name: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "filter": list(steps)}


FIRST = {"function": "take_first"}
EXACT = _metric(
    "exact_match", ignore_case=True, ignore_punctuation=True, regexes_to_ignore=["the answer is ", "^ +"]
)


def _generated() -> dict[str, dict[str, Any]]:
    until = {"until": ["\n", "Question:"], "max_gen_toks": 24, "do_sample": False, "temperature": 0.0}
    generate = {"output_type": "generate_until", "generation_kwargs": until}
    named = {"function": "regex", "regex_pattern": "answer is (.+?)\\.", "fallback": "[none]"}
    last = {"function": "regex", "regex_pattern": "([A-Za-z0-9]+)", "group_select": -1}
    vote = {"function": "majority_vote"}
    word = {"function": "custom", "filter_fn": "!function utils.last_word"}
    letter = {"function": "map", "mapping_dict": {"Paris": "paris!"}, "default_value": "unknown"}
    return {
        "g_exact": {**generate, "metric_list": [EXACT]},
        "g_plain_target": {
            **generate,
            "description": "Answer the question in a word.\n\n",
            "metric_list": [_metric("exact_match")],
            "generation_kwargs": {"until": ["."]},
        },
        "g_filters": {
            **generate,
            "num_fewshot": 3,
            "metric_list": [EXACT],
            "filter_list": [
                _filter("strict-match", named, FIRST),
                _filter("flexible-extract", last, FIRST),
                _filter("low", {"function": "lowercase"}, {"function": "remove_whitespace"}, FIRST),
                _filter("high", {"function": "uppercase"}, FIRST),
                _filter("mapped", last, letter, FIRST),
            ],
        },
        "g_votes": {
            **generate,
            "repeats": 5,
            "metric_list": [EXACT],
            "generation_kwargs": {**until, "do_sample": True, "temperature": 0.7},
            "filter_list": [
                _filter("maj@5", named, vote, FIRST),
                _filter("maj@3", {"function": "take_first_k", "k": 3}, last, vote, FIRST),
                _filter("first", FIRST),
            ],
        },
        "g_letters": {
            **generate,
            "doc_to_text": "{{question}} (A) {{choices[0]}} (B) {{choices[1]}} (C) {{choices[2]}}\nAnswer:",
            "doc_to_target": "{{'(' ~ ['A','B','C'][gold] ~ ')'}}",
            "metric_list": [_metric("exact_match")],
            "filter_list": [
                _filter(
                    "letters",
                    {
                        "function": "multi_choice_regex",
                        "group_select": 0,
                        "ignore_case": True,
                        "ignore_punctuation": True,
                        "regex_pattern": "(\\([A-Z]\\))",
                    },
                    FIRST,
                ),
            ],
        },
        "g_custom": {
            **generate,
            "process_docs": "!function utils.keep_short",
            "process_results": "!function utils.scores",
            "filter_list": [_filter("last", word, FIRST)],
            "metric_list": [_metric("hit"), _metric("length", "median")],
        },
        "g_corpus": {
            **generate,
            "num_fewshot": 1,
            "metric_list": [
                _metric("bleu", "bleu"),
                _metric("chrf", "chrf"),
                _metric("chrf++", "chrf++"),
                _metric("ter", "ter", better=False),
            ],
        },
        "g_many_targets": {**generate, "doc_to_target": "also", "metric_list": [EXACT]},
        "g_prefix": {**generate, "gen_prefix": "It is", "num_fewshot": 2, "metric_list": [EXACT]},
    }


def _chosen() -> dict[str, dict[str, Any]]:
    choose = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "gold"}
    return {
        "c_three": {
            **choose,
            "num_fewshot": 2,
            "fewshot_config": {"sampler": "first_n"},
            "metric_list": [
                _metric("acc"),
                _metric("acc_norm"),
                _metric("acc_bytes"),
                _metric("exact_match"),
                _metric("brier_score", "brier_score", better=False),
            ],
        },
        "c_default": {**choose, "test_split": "train"},
        "c_yes_no": {
            "output_type": "multiple_choice",
            "doc_to_text": "{{claim}}\nTrue?",
            "doc_to_choice": ["no", "yes"],
            "doc_to_target": "{{['no', 'yes'].index(right)}}",
            "metric_list": [_metric("acc"), _metric("f1", "f1"), _metric("mcc", "matthews_corrcoef")],
        },
        "c_information": {**choose, "metric_list": [_metric("acc"), _metric("acc_mutual_info")]},
        "c_inputs": {
            "output_type": "multiple_choice",
            "doc_to_text": "{{gold}}",
            "doc_to_choice": "{{[blank.replace('_', choices[0]), blank.replace('_', choices[1]), "
            "blank.replace('_', choices[2])]}}",
            "doc_to_target": "{{'and nothing else'}}",
            "metric_list": [_metric("acc")],
        },
    }


def _scored() -> dict[str, dict[str, Any]]:
    return {
        "l_last_word": {
            "output_type": "loglikelihood",
            "doc_to_target": "{{' ' ~ answer}}",
            "num_fewshot": 1,
            "metric_list": [_metric("perplexity", "perplexity", better=False), _metric("acc")],
        },
        "r_prose": {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [
                _metric("word_perplexity", "weighted_perplexity", better=False),
                _metric("byte_perplexity", "weighted_perplexity", better=False),
                _metric("bits_per_byte", "bits_per_byte", better=False),
            ],
        },
    }


def _shown() -> dict[str, dict[str, Any]]:
    short = {"generation_kwargs": {"until": ["\n"], "max_gen_toks": 24}, "metric_list": [EXACT]}
    return {
        "v_colours": {
            **short,
            "output_type": "generate_until",
            "doc_to_image": "!function utils.pictures",
            "description": "Look closely.",
        },
        "v_likely": {
            "output_type": "multiple_choice",
            "doc_to_image": "!function utils.pictures",
            "doc_to_choice": list(SHOWN),
            "doc_to_target": "answer",
        },
        "a_sounds": {**short, "output_type": "generate_until", "doc_to_audio": "!function utils.pictures"},
    }


def _groups() -> dict[str, dict[str, Any]]:
    return {
        "all_chosen": {
            "task": ["c_three", "c_yes_no", "inner"],
            "aggregate_metric_list": [
                {"metric": "acc", "weight_by_size": True},
                {"metric": "acc_norm", "weight_by_size": False},
            ],
            "metadata": {"version": 3},
        },
        "inner": {"task": ["c_default"], "aggregate_metric_list": [{"metric": "acc"}]},
        "together": {"task": ["g_exact", "c_default"]},
    }


def write_real(folder: Path, data: Path) -> None:
    """Tasks over PubMedQA and MedQA's questions, which lie in ``data``."""
    folder.mkdir(parents=True, exist_ok=True)
    _jsonl(folder / "pubmedqa.jsonl", _plain_rows(data / "pubmedqa" / "questions.jsonl.gz"))
    _jsonl(folder / "medqa.jsonl", _plain_rows(data / "mirage" / "medqa.questions.jsonl.gz"))

    def over(name: str) -> dict[str, Any]:
        return {
            "dataset_path": "json",
            "test_split": "test",
            "num_fewshot": 1,
            "fewshot_split": "test",
            "dataset_kwargs": {"data_files": {"test": str(folder / f"{name}.jsonl")}},
        }

    asked = "Question: {{question}}\nAnswer:"
    brier = _metric("brier_score", "brier_score", better=False)
    tasks: dict[str, dict[str, Any]] = {
        "real_pubmedqa": {
            **over("pubmedqa"),
            "output_type": "multiple_choice",
            "doc_to_text": asked,
            "doc_to_choice": ["yes", "no", "maybe"],
            "doc_to_target": "decision",
            "metric_list": [_metric("acc"), _metric("acc_norm"), brier],
        },
        "real_conclusions": {
            **over("pubmedqa"),
            "output_type": "generate_until",
            "doc_to_text": "{{question}}",
            "doc_to_target": "long_answer",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 32},
            "metric_list": [_metric("bleu", "bleu"), _metric("chrf", "chrf")],
        },
        "real_medqa": {
            **over("medqa"),
            "output_type": "multiple_choice",
            "doc_to_text": asked,
            "doc_to_choice": "{{options.values() | list}}",
            "doc_to_target": "{{['A', 'B', 'C', 'D'].index(answer)}}",
            "metric_list": [_metric("acc"), _metric("acc_norm")],
        },
        "real_prose": {
            **over("pubmedqa"),
            "num_fewshot": 0,
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "long_answer",
        },
    }
    for name, own in tasks.items():
        (folder / f"{name}.yaml").write_text(_dump({"task": name, **own}))


def _plain_rows(path: Path, count: int = 40) -> list[dict[str, Any]]:
    """The first rows in plain ASCII: an echo shows the tokens of other characters in pieces."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = map(json.loads, lines)
        return list(itertools.islice((r for r in rows if str(list(r.values())).isascii()), count))


def _jsonl(path: Path, entries: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def _dump(content: dict[str, Any]) -> str:
    """YAML, in which ``!function x.y`` is a tag and no text."""
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return re.sub(r"'(!function [\w.]+)'", r"\1", text)
