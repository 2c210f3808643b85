"""Reasoning in a reply's text: split off under every mark that models use; never an answer by itself."""

from __future__ import annotations

import pytest

from evalkit.reading.reasoning import is_unfinished, split_reasoning, template_mark

THOUGHT = "Could be A. The answer is A? No, insulin."
MARKS = {
    "DeepSeek and Qwen": ("<think>", "</think>"),
    "in capitals": ("<THINK>\n", "\n</THINK>\n\n"),
    "Magistral": ("[THINK]", "[/THINK]"),
    "Kimi": ("◁think▷", "◁/think▷"),
    "Seed-OSS": ("<seed:think>", "</seed:think>"),
    "Cohere": ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    "a prompt that asks for it": ("<thinking>", "</thinking>"),
    "another one": ("<reasoning>", "</reasoning>"),
    "LongCat": ("<longcat_think>", "</longcat_think>"),
    "a mark with an attribute": ('<think type="deep">', "</think>"),
    "a rationale": ("<rationale>", "</rationale>"),
    "an analysis": ("<analysis>", "</analysis>"),
    "Exaone": ("<thought>", "</thought>"),
    "thoughts in tokens": ("<|begin_of_thought|>", "<|end_of_thought|><|begin_of_solution|>"),
    "Apertus": ("<|inner_prefix|>", "<|inner_suffix|>"),
    "MedGemma": ("<unused94>thought\n", "<unused95>"),
    "Gemma": ("<|channel>thought\n", "<channel|>"),
    "Granite": ("Here is my thought process:\n", "\nHere is my response:\n"),
    "HuatuoGPT-o1": ("## Thinking\n\n", "\n\n## Final Response\n\n"),
    "Apriel": ("Here are my reasoning steps:\n", "\n[BEGIN FINAL RESPONSE]\n"),
    "HyperCLOVA X": ("/think\n", "<|im_end|>\n<|im_start|>assistant\n"),
    "HyperCLOVA X, its tokens removed": ("/think\n", "\nassistant\n"),
    "openPangu": ("[unused16]", "[unused17]"),
    "Solar Open": ("<|think:start|>", "<|think:end|>"),
    "MiniMax M3": ("<mm:think>", "</mm:think>"),
    "K2 Horizon": ("<ifm|think_fast>", "</ifm|think_fast>"),
    "Kimi K3": ("<|open|>think<|sep|>", "<|close|>think<|sep|><|open|>response<|sep|>"),
    "Inkling": (
        "<|message_model|><|content_thinking|>",
        "<|end_message|><|message_model|><|content_text|>",
    ),
    "gpt-oss": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    "gpt-oss, its tokens removed": ("analysis", "assistantfinal"),
}


@pytest.mark.parametrize(("begin", "end"), MARKS.values(), ids=list(MARKS))
def test_the_answer_is_what_stands_behind_the_reasoning(begin: str, end: str) -> None:
    assert split_reasoning(f"{begin}{THOUGHT}{end}B") == (THOUGHT, "B")


@pytest.mark.parametrize(("begin", "end"), MARKS.values(), ids=list(MARKS))
def test_reasoning_that_never_ended_holds_no_answer(begin: str, end: str) -> None:
    assert split_reasoning(f"{begin}{THOUGHT}") == (THOUGHT, "")
    assert split_reasoning(begin + THOUGHT + end)[1] == ""


@pytest.mark.parametrize("quoted", ["<reasoning>A?</reasoning>", "<thinking><cot>A?</cot></thinking>"])
def test_marks_of_another_name_inside_the_reasoning_do_not_end_it(quoted: str) -> None:
    """A prompt may ask for reasoning between marks of its own; a model that thinks tries them out first."""
    draft = f"I write {quoted}\n<answer>B</answer>. Hmm"
    assert split_reasoning(f"<think>{draft}") == (draft, "")
    assert split_reasoning(f"<think>{draft}</think>C") == (draft, "C")
    assert is_unfinished(draft, "<think>")
    assert split_reasoning("<think>A?<think>B?</think>C")[1] == "C"  # written twice, closed once


def test_replies_tell_whether_the_chat_template_opened_their_reasoning() -> None:
    closed, plain, whole = "A?</think>B", "B", "<think>A?</think>B"
    assert template_mark([closed, plain, plain]) == "<think>"
    assert template_mark(["A?[/THINK]B"]) == "[THINK]"
    assert template_mark(["A? plan}}B"], ("{{plan", "plan}}")) == "{{plan"
    assert template_mark([whole, closed]) == template_mark([plain, "", closed] + [plain] * 9) == ""
    assert is_unfinished(plain, "<think>")
    assert not is_unfinished(closed, "<think>")
    assert not is_unfinished("<think>A?</think>B", "<think>")  # the model opened it once more


@pytest.mark.parametrize("kind", ["DeepSeek and Qwen", "Magistral", "Kimi", "Seed-OSS", "Cohere", "gpt-oss"])
def test_a_chat_template_may_have_opened_the_reasoning(kind: str) -> None:
    assert split_reasoning(f"{THOUGHT}{MARKS[kind][1]}B") == (THOUGHT, "B")


def test_marks_around_the_answer_itself_are_removed() -> None:
    assert split_reasoning("<|START_RESPONSE|>B<|END_RESPONSE|>") == ("", "B")
    text = "<|begin_of_thought|>A?<|end_of_thought|>\n\n<|begin_of_solution|>\nB\n<|end_of_solution|>"
    assert split_reasoning(text) == ("A?", "B")
    assert split_reasoning("<|channel|>final<|message|>B<|return|>") == ("", "B")
    assert split_reasoning("<think>\nA?\n</think>\n<answer>\nB\n</answer>") == ("A?", "B")  # Hunyuan
    assert split_reasoning("<think>A?</think><response>B</response>") == ("A?", "B")  # Granite
    assert split_reasoning("A?</think>\n\n<response>\nB\n</response>\n") == ("A?", "B")  # ERNIE
    kimi = "A?<|close|>think<|sep|><|open|>response<|sep|>B<|close|>response<|sep|><|end_of_msg|>"
    assert split_reasoning(kimi) == ("A?", "B")
    assert split_reasoning("A?\n[BEGIN FINAL RESPONSE]\nB\n[END FINAL RESPONSE]") == ("A?", "B")
    inkling = "<|content_thinking|>A?<|end_message|><|message_model|><|content_text|>B<|end_message|>"
    assert split_reasoning(f"{inkling}<|content_model_end_sampling|>") == ("A?", "B")


def test_further_marks_are_those_of_the_spec() -> None:
    marks = ("{{plan", "}}")
    assert split_reasoning("{{plan A? }}B") == ("", "{{plan A? }}B")
    assert split_reasoning("{{plan A? }}B", marks) == ("A?", "B")
    assert split_reasoning("A? }}B", marks) == ("A?", "B")  # the template opened it
    assert split_reasoning("{{plan The answer is B", marks) == ("The answer is B", "")
    assert split_reasoning("<think>A? }}</think>B", marks) == ("A? }}", "B")  # known marks still count
    assert split_reasoning("B", marks) == ("", "B")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>first</think><think>The answer is A?</think>B", "B"),
        ("<think>first</think>Hm. <think>The answer is A?</think>\n\nB", "B"),
        ("Okay.\n<think>The answer is A?</think>B", "B"),
        ("Okay.\n<think>The answer is B? Let me", ""),
        ("The answer is B <think>or A", ""),
        ("B<think>check: yes</think>\n", "B"),
        ("<think>a</think>no, wait: C</think>B", "B"),
        ("<think>The tag <thinking> is not mine; [THINK] neither</think>B", "B"),
        ("<think>The user wrote `</think>` here</think>B", "B"),
        ("<think></think>\n\nB", "B"),
        ('<think>The user wrote "</think>" here</think>B', "B"),
        ("<think>So it is `B`</think>B", "B"),
        ("<think>```\nA\n```</think>B", "B"),
        ("<think>A?</think>B\n```xml\n<think>c</think>\n```\n", "B\n```xml\n<think>c</think>\n```\n"),
        ("<think>A?</think>B\n```xml\n<think>c", ""),  # a block that never ends hides no reasoning
        ("```\n<think>A?</think>B\n```", "B\n```"),
        ("<think>A?</think>", ""),
        ("<reasoning>A is wrong.</reasoning><answer>B</answer>", "<answer>B</answer>"),
        (
            "<|channel|>analysis<|message|>A?<|end|><|start|>assistant<|channel|>commentary to=functions.f "
            "<|constrain|>json<|message|>{}<|call|>",
            "",
        ),
        (
            "<|start|>assistant<|channel|>analysis<|message|>A?<|end|><|start|>assistant<|channel|>analysis"
            "<|message|>C?<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>B",
            "B",
        ),
        ("<|channel|>ana", ""),
        ("analysisIf p < 0.05, A.assistantcommentaryCall it.assistantfinalB", "B"),
        ("analysisMaybe A.assistantanalysisMaybe C", ""),
    ],
)
def test_blocks_words_and_channels_around_the_reasoning(text: str, answer: str) -> None:
    assert split_reasoning(text)[1] == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B",
        "p < 0.05 and n > 20, so B",
        "Analysis of variance shows B.",
        "analysis of variance",
        "analysis: B",
        "Write `<think>` before your reasoning.",
        "It is `B`: write `<think>` before your reasoning.",
        'B. Models write "<think>" before they reason.',
        "<answer>B</answer>",
        "<response>B</response>",
        "The sum is [12], see [1] and [THINKING]",
        "<p>I think</p> so do [1]",
        "  B with blanks  ",
    ],
)
def test_a_reply_without_marks_is_its_own_answer(text: str) -> None:
    assert split_reasoning(text) == ("", text)
