"""Tiny networks with weights by chance, and a WordNet of a few words, in the layouts of the real ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

WORDNET = Path(os.environ.get("WNSEARCHDIR", "/usr/share/wordnet")) / "data.noun"  # where it is installed
LABELS = {0: "contradiction", 1: "entailment", 2: "neutral"}


def vocabulary(words: str) -> list[str]:
    """The words of a text and what BERT adds to them."""
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(words.lower().split()))]


def bert(folder: Path, words: str, *, labels: Mapping[int, str] | None = None, limit: int = 64) -> str:
    """A BERT of two layers over these words: a classifier where ``labels`` are given. Its folder's path."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    known = vocabulary(words)
    (folder / "vocab.txt").write_text("\n".join(known))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=limit).save_pretrained(folder)
    torch.manual_seed(11)
    shape = {
        "vocab_size": len(known),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": limit,
        "initializer_range": 1.0,
    }
    if labels is None:
        BertModel(BertConfig(**shape)).save_pretrained(folder)
    else:
        config = BertConfig(**shape, id2label=dict(labels), num_labels=len(labels))
        BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


def wordnet(home: Path, synsets: Sequence[tuple[Sequence[str], str]]) -> None:
    """A WordNet under ``home/corpora/wordnet`` of (words, part of speech) pairs, as nltk reads it."""
    folder = home / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    for part, letter in {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}.items():
        data, places = "  1 made by a test\n", dict[str, int]()
        for words in (words for words, kind in synsets if kind == part):
            places |= dict.fromkeys(words, len(data))
            lemmas = " ".join(f"{word} 0" for word in words)
            frames = " 00" if part == "verb" else ""
            data += f"{len(data):08d} 03 {letter} {len(words):02x} {lemmas} 000{frames} | a gloss  \n"
        lines = [f"{word} {letter} 1 0 1 0 {place:08d}  \n" for word, place in sorted(places.items())]
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text("  1 made by a test\n" + "".join(lines))
        (folder / f"{part}.exc").write_text("")
    (folder / "lexnames").write_text("".join(f"{n:02d}\tfile.{n}\t1\n" for n in range(45)))
    for name in ("index.sense", "cntlist.rev"):
        (folder / name).write_text("")
