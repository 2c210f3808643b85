"""Replies as models mark them up."""

import pytest

from evalkit.reading.markup import plain


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("**yes**", "yes"),
        ("__Yes__, *surely*.", "Yes, surely."),
        ("`B`", "B"),
        ("## Answer", "Answer"),
        ("> no", "no"),
        ("\\(3\\) or \\[3\\] or $$3$$ or $3$", "3 or 3 or 3 or 3"),
        ("\\boxed{\\text{left}}", "left"),
        ("<b>yes</b>", "yes"),
        ("I think.\n<answer> no </answer>", "no"),
        ("<answer>yes", "yes"),
        ("<answer>yes</answer> <answer>no</answer>", "no"),
        ("it isn’t", "it isn't"),
        # no markup
        ("HLA-B*57:01 and 2*3", "HLA-B*57:01 and 2*3"),
        ("gene_name", "gene_name"),
        ("p < 0.05 and n > 3", "p < 0.05 and n > 3"),
    ],
)
def test_text_without_markup(typed: str, said: str) -> None:
    assert plain(typed) == said


@pytest.mark.parametrize("unit", ["*", "<answer>", "\\text{", "_", "$", "<"])
def test_hostile_text_is_read(unit: str) -> None:
    plain(unit * (100_000 // len(unit)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("```text\nleft\n```", "left"),
        ("**4**mm", "4mm"),
        ("10**3", "10**3"),
        ("2*3", "2*3"),
        ("HLA-B*27", "HLA-B*27"),
    ],
)
def test_emphasis_is_told_from_powers_products_and_alleles(text: str, wanted: str) -> None:
    assert plain(text) == wanted
