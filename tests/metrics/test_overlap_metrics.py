"""chrF by hand; METEOR by published examples, on a WordNet of a few words and on the real one."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.metrics import chrf
from evalkit.types import Answer, Sample
from tests.metrics import tiny
from tests.metrics.tiny import WORDNET


def f2(reply: str, target: str) -> float:
    """Of character n-grams up to 6 without spaces: the mean of those orders that both texts have."""
    precision, recall = [], []
    for n in range(1, 7):
        grams = [
            Counter(t[i : i + n] for i in range(len(t) - n + 1))
            for t in map("".join, (reply.split(), target.split()))
        ]
        if all(grams):
            shared = (grams[0] & grams[1]).total()
            precision.append(shared / grams[0].total())
            recall.append(shared / grams[1].total())
    p, r = (sum(values) / len(values) for values in (precision, recall))
    return 5 * p * r / (4 * p + r) if p + r else 0.0


@pytest.mark.parametrize(
    ("reply", "target"),
    [
        ("Zinc shortened colds.", "Zinc shortens colds in adults."),
        ("Zinc shortens colds in adults.", "Zinc shortened colds."),
        ("It works.", "It works."),
        ("abcdefgh", "ijklmnop"),
    ],
)
def test_chrf_by_its_definition(reply, target):
    found = chrf()(Sample("s", "q", target), Answer(text=reply))
    assert found == pytest.approx(f2(reply, target), abs=1e-9)


def test_chrf_takes_the_best_reference_and_names_its_words():
    sample = Sample("s", "q", ("nothing alike", "It works."))
    assert chrf()(sample, Answer(text="It works.")) == 1.0
    assert chrf()(sample, Answer(text="")) == 0.0
    assert chrf(2).name == "chrf[word_order=2]"
    with pytest.raises(UsageError, match="word_order is -1"):
        chrf(-1)


SCRIPT = """
import sys
from evalkit.metrics import meteor
from evalkit.types import Answer, Sample
from tests.metrics import tiny
for pair in sys.argv[1:]:
    reply, target = pair.split("|")
    print(meteor()(Sample("s", "q", target), Answer(text=reply)))
"""
NLTK = (
    "It is a guide to action which ensures that the military always obeys the commands of the party|"
    "It is a guide to action that ensures that the military will forever heed Party commands"
)


def run(home: Path, *pairs: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *pairs],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NLTK_DATA": str(home), "HOME": str(home), "WNSEARCHDIR": str(folder or home)},
    )


def test_meteor(tmp_path):
    tiny.wordnet(tmp_path, [(["cold", "chill"], "noun"), (["shorten", "curtail"], "verb")])
    done = run(tmp_path, NLTK, "Zinc curtail chill .|Zinc shorten cold .", "iron|zinc")
    assert done.returncode == 0, done.stderr
    published, synonyms, nothing = map(float, done.stdout.split())
    assert published == pytest.approx(0.6944, abs=5e-5), "as nltk's documentation prints it"
    # four of four words in one chunk: the penalty is 0.5 (1/4)³
    assert synonyms == pytest.approx(1 - 0.5 * (1 / 4) ** 3)
    assert nothing == 0.0


def test_meteor_without_wordnet_says_how_to_get_it(tmp_path):
    done = run(tmp_path, "It works.|It works.")
    assert done.returncode != 0
    assert "meteor needs WordNet: python -m nltk.downloader wordnet" in done.stderr
    assert "apt-get install wordnet-base" in done.stderr


@pytest.mark.skipif(not WORDNET.exists(), reason="needs WordNet: apt-get install wordnet-base")
def test_meteor_with_the_systems_wordnet(tmp_path):
    pairs = {
        "on the mat sat the cat|the cat sat on the mat": 0.5,
        "the cat sat on the mat|the cat sat on the mat": 0.9977,
        "the cat was sat on the mat|the cat sat on the mat": 0.9654,  # these three: Wikipedia's examples
        NLTK: 0.6944,
        # synonyms as WordNet's own program lists them: five of five words in one chunk
        "the physician treats the sickness|the doctor treats the illness": 1 - 0.5 * (1 / 5) ** 3,
        # nltk looks synonyms up by Porter's stems: pain is one of hurt, injur is no word
        "painful|hurt": 0.5,
        "injure|hurt": 0.0,
    }
    done = run(tmp_path, *pairs, folder=WORDNET.parent)
    assert done.returncode == 0, done.stderr
    assert [float(line) for line in done.stdout.split()] == pytest.approx(list(pairs.values()), abs=5e-5)
