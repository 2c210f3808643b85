"""What is a verdict of a judge, and what only holds its word; lists of claims."""

import pytest

from evalkit.judge.verdicts import read_claims, read_relation


@pytest.mark.parametrize(
    ("reply", "relation"),
    [
        ("SUPPORTED", "entails"),
        ("Supported.", "entails"),
        ("**CONTRADICTED**.", "contradicts"),
        ("`NEITHER`", "neutral"),
        ('"SUPPORTED"', "entails"),
        ('{"verdict": "SUPPORTED"}', "entails"),
        ('```json\n{"verdict": "NEITHER"}\n```', "neutral"),
        ("<answer>SUPPORTED</answer>", "entails"),
        ("<verdict>SUPPORTED</verdict>", "entails"),
        ("Verdict: **CONTRADICTED**", "contradicts"),
        ("The answer is NEITHER.", "neutral"),
        ("The statement is SUPPORTED by the passages.", "entails"),
        ("The passages are silent on that: NEITHER", "neutral"),
        ("Answer: SUPPORTED. Yes, SUPPORTED.", "entails"),
        ("SUPPORTED\n\nPassage 1 says that zinc shortens colds.", "entails"),
        ("CONTRADICTED. Passage 2 says that zinc does not work.", "contradicts"),
        ("Passage 1 is about zinc, but passage 2 is not.\n\nNEITHER", "neutral"),
        ("SUPPORTED 【1】", "entails"),
        ("SUPPORTED by passages 1 and 2.", "entails"),
        ("The passages neither support nor contradict the statement.", "neutral"),
        ("NEITHER SUPPORTED NOR CONTRADICTED", "neutral"),
    ],
)
def test_verdicts(reply: str, relation: str) -> None:
    assert read_relation(reply) == relation


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "yes",
        "NOT SUPPORTED",
        "**NOT** SUPPORTED.",
        "Not Supported",
        "UNSUPPORTED",
        "PARTIALLY SUPPORTED",
        "Partly SUPPORTED",
        "SUPPORTED (partially)",
        "SUPPORTED in part",
        "SUPPORTED?",
        "SUPPORTED, but only for adults.",
        "SUPPORTED. However, passage 2 disagrees.",
        "MOSTLY SUPPORTED",
        "The statement is **NOT SUPPORTED** by the passages.",
        "The statement is not fully SUPPORTED.",
        "The statement isn't SUPPORTED.",
        "Verdict: NOT SUPPORTED",
        "It is not: SUPPORTED",
        "It is wrong to say SUPPORTED",
        "Either SUPPORTED or CONTRADICTED.",
        "SUPPORTED/CONTRADICTED",
        "SUPPORTED\nCONTRADICTED",
        "A common mistake is SUPPORTED.",
        "The claim is NOT\nSUPPORTED",
        "Not quite: SUPPORTED",
        "SUPPORTED by passage 1 only",
        "SUPPORTED by none of the passages",
        "Is it SUPPORTED?",
        "SUPPORTED: NO",
        "Only the first part is SUPPORTED.",
        "It would be SUPPORTED if passage 2 were right.",
        "The word SUPPORTED would be wrong here.",
    ],
)
def test_what_is_no_verdict(reply: str) -> None:
    assert read_relation(reply) is None


@pytest.mark.parametrize(
    "reply",
    [
        "NONE",
        "None.",
        "- NONE",
        "* **NONE**",
        "1. NONE.",
        "Claims:\n- NONE",
        "Claims: NONE",
        "The text makes no claim.",
    ],
)
def test_none_is_no_claim(reply: str) -> None:
    assert read_claims(reply) == []


def test_claims_in_the_usual_lists() -> None:
    assert read_claims("**Claims:**\n1. **Zinc** works.\n(2) It’s safe.\n• It is cheap.") == [
        "Zinc works.",
        "It's safe.",
        "It is cheap.",
    ]
    assert read_claims("- None of the patients died.") == ["None of the patients died."]


@pytest.mark.parametrize("reply", ["", "Zinc works.", "- Zinc works.\nAnd so on.", "- Zinc works.\n- NONE"])
def test_what_is_no_list_of_claims(reply: str) -> None:
    assert read_claims(reply) is None


@pytest.mark.parametrize("unit", ["SUPPORTED ", "a", ": ", "SUPPORTED. ", "the ", "neither support ", "\n- "])
def test_a_hostile_reply_is_read(unit: str) -> None:
    read_relation(unit * (100_000 // len(unit)))
    read_claims(unit * (100_000 // len(unit)))


@pytest.mark.parametrize(
    ("reply", "relation"),
    [
        ('{"verdict": "SUPPORTED", "reason": "Passage 1 says so."}', "entails"),
        ('{"explanation": "It is not SUPPORTED.", "verdict": "CONTRADICTED"}', "contradicts"),
        ('{"verdict": "PARTIALLY SUPPORTED", "reason": "x"}', None),
        ('{"verdict": null, "reason": "SUPPORTED"}', None),
        ("SUPPORTED - passage 1 says that zinc helps.", "entails"),
        ("SUPPORTED. It is not CONTRADICTED, nor NEITHER.", "entails"),
        ("CONTRADICTED: the passage says the opposite", "contradicts"),
        ("CONTRADICTED. The passages only say that zinc fails.", "contradicts"),
        ("NEITHER. The claim is not SUPPORTED by the passages.", "neutral"),
        ("NEITHER. The passages mention zinc, but not colds.", "neutral"),
        ("Verdict: SUPPORTED (confidence 0.9)", "entails"),
        ("FULLY SUPPORTED", "entails"),
        ("Not fully SUPPORTED", None),
        ("SUPPORTED: only in mice with diabetes", None),
        ("SUPPORTED: the passage does not support it", None),
        ("SUPPORTED (partially)", None),
        ("SUPPORTED: no", None),
    ],
)
def test_a_verdict_is_read_beside_its_explanation(reply: str, relation: str | None) -> None:
    assert read_relation(reply) == relation


@pytest.mark.parametrize(
    "reply",
    [
        "## Claims\n- Zinc helps.\n- It is 1.5 mg.",
        "**Claims**\n- Zinc helps.\n- It is 1.5 mg.",
        "```\n1\\. Zinc helps.\n2\\. It is 1.5 mg.\n```",
        "<claims>\n① Zinc helps.\n② It is 1.5 mg.\n</claims>",
        "Claim 1: Zinc helps.\nClaim 2: It is 1.5 mg.",
    ],
)
def test_claims_are_read_inside_headings_and_fences(reply: str) -> None:
    assert read_claims(reply) == ["Zinc helps.", "It is 1.5 mg."]


@pytest.mark.parametrize(
    ("reply", "claims"),
    [("None identified.", []), ("There are no claims in the text.", []), ("1.5 mg was given.", None)],
)
def test_words_for_no_claims_and_a_number_that_begins_a_line(reply: str, claims: list[str] | None) -> None:
    assert read_claims(reply) == claims
