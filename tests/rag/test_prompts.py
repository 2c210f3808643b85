"""Pieces of prompts: what is written is what a reader finds again."""

from __future__ import annotations

from evalkit import Message, Passage, Text, cited, numbered
from evalkit.rag.prompts import read_numbered, text_of


def test_passages_are_numbered_one_a_line_with_white_space_folded() -> None:
    passages = [
        Passage("a", "One.\nTwo.", title="A trial"),
        Passage("b", "Three.", title="Why?"),
        Passage("c", "4"),
    ]
    assert numbered(passages) == "[1] A trial. One. Two.\n[2] Why? Three.\n[3] 4"


def test_a_reader_finds_the_passages_and_is_not_misled_by_brackets_inside_them() -> None:
    passages = [Passage("a", "As shown [2] before.\n[2] is a mark inside."), Passage("b", "Other.")]
    prompt = f"Instructions\n\n{numbered(passages)}\n\nQuestion: why [1]?"
    assert read_numbered(prompt) == {1: "As shown [2] before. [2] is a mark inside.", 2: "Other."}


def test_a_perfect_reply_cites_behind_each_sentence() -> None:
    assert cited("It works. It is safe.", [1, 3]) == "It works. [1][3] It is safe. [1][3]"
    assert cited("It works.", []) == "It works."


def test_the_text_of_a_conversation_leaves_images_out() -> None:
    messages = [Message("system", "Be brief."), Message("user", (Text("What"), Text("is this?")))]
    assert text_of(messages) == "Be brief.\nWhat\nis this?"
