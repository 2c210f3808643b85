"""ROUGE-SU4 against what ROUGE-1.5.5.pl prints (``-2 4 -u``, with and without ``-m``) for the same pairs."""

import pytest

from evalkit.metrics import rouge
from evalkit.types import Answer, Sample

GUNMAN = ("police killed the gunman", "the gunman killed the policeman")
TRIALS = (
    "adults adults with (p<0.05) HbA1c (p<0.05) HbA1c metformin with patients with reduced in diabetes with "
    "diabetes adults adults HbA1c lowers diabetes long-term",
    "of diabetes type long-term in 2 in trials with type reduced type of (p<0.05) lowers lowers adults "
    "reduced and adults type in",
)
METFORMIN = (
    "Metformin lowered HbA1c by 0.9% in adults with type 2 diabetes.",
    "In adults with type 2 diabetes, metformin lowers HbA1c by about 1%.",
)


def su4(reply, *targets, **options):
    return rouge("rougeSU4", **options)(Sample("s", "q", targets), Answer(text=reply))


@pytest.mark.parametrize(
    ("pair", "stem", "precision", "recall", "f"),
    [
        (GUNMAN, False, 0.44444, 0.28571, 0.34782),
        (TRIALS, False, 0.15753, 0.17164, 0.16428),
        (METFORMIN, False, 0.46429, 0.46429, 0.46429),
        (METFORMIN, True, 0.53571, 0.53571, 0.53571),
        (("a x x x x b", "a b"), False, 0.1, 1.0, 0.18182),
        (("a x x x x x b", "a b"), False, 0.03846, 0.5, 0.07143),
        (("h g f e d c b a", "a b c d e f g h"), False, 0.1875, 0.1875, 0.1875),
        (("Aspirin", "Aspirin"), False, 0.0, 0.0, 0.0),
    ],
)
def test_equal_to_the_perl_script(pair, stem, precision, recall, f):
    for stat, expected in (("precision", precision), ("recall", recall), ("f", f)):
        assert su4(*pair, stem=stem, stat=stat) == pytest.approx(expected, abs=2e-5), stat


def test_the_best_reference_counts_for_every_stat():
    assert su4("a b c", "a b c d e f", "a b c", stat="recall") == 1.0
    assert su4("a b c", "x y z", "a b c x y z") == su4("a b c", "a b c x y z")


def test_a_long_text_takes_no_longer_by_the_word():
    words = " ".join(str(i % 977) for i in range(200_000))
    assert su4(words, words) == 1.0
