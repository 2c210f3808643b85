"""METEOR and chrF, as nltk and sacrebleu compute them, between 0 and 1 (papers print them times 100)."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path
from typing import Any

from evalkit.data.sentences import split_sentences
from evalkit.errors import SetupError, UsageError
from evalkit.extras import load
from evalkit.metric import Metric
from evalkit.metrics.text import name_of, scored


def chrf(word_order: int = 0) -> Metric:
    """Return ``chrf``: F2 over the character n-grams up to 6 of one reply; ``chrf[word_order=2]`` is chrF++.

    The best reference counts. Equals sacrebleu's ``sentence_chrf``; a corpus score is another number.
    Needs sacrebleu (extra ``metrics``). Raises ``UsageError`` for a negative order. Source: Popović 2015.
    """
    if word_order < 0:
        raise UsageError(f"chrf: word_order is {word_order}, but must be at least 0")
    name = name_of("chrf", word_order=(word_order, 0))
    fn = partial(scored, partial(_chrf, word_order), True)
    return Metric(
        name, fn, help="character n-gram F2 (chrF)", check_requirements=partial(load, "sacrebleu", "chrf")
    )


def meteor() -> Metric:
    """Return ``meteor``: words aligned by form, stem and WordNet synonym; scattered matches cost a penalty.

    The value is nltk's METEOR with its defaults (α 0.9, β 3, γ 0.5), in lower case; the best reference
    counts. nltk's rules (``NLTKWordTokenizer``) find the words in the sentences of ``split_sentences``; the
    package ``evaluate`` splits sentences by a model that must be downloaded. Needs nltk (extra ``metrics``)
    and WordNet: nltk's download, else the system's copy (``/usr/share/wordnet``, or the folder in WordNet's
    own variable ``WNSEARCHDIR``). Source: Banerjee and Lavie 2005.
    """
    return Metric(
        "meteor",
        partial(scored, _meteor, True),
        help="METEOR (nltk, with WordNet)",
        check_requirements=_wordnet,
        version=2,  # 2: other sentence borders (``split_sentences``)
    )


def _chrf(word_order: int, reply: str, references: tuple[str, ...]) -> float:
    score = load("sacrebleu", "chrf").sentence_chrf(reply, list(references), word_order=word_order)
    return float(score.score) / 100


def _meteor(reply: str, references: tuple[str, ...]) -> float:
    wordnet = _wordnet()
    from nltk.translate.meteor_score import meteor_score

    return float(meteor_score([_words(text) for text in references], _words(reply), wordnet=wordnet))


def _words(text: str) -> list[str]:
    from nltk.tokenize import word_tokenize

    return [word for s in split_sentences(text) for word in word_tokenize(s, preserve_line=True)]


@cache
def _wordnet() -> Any:
    wordnet = load("nltk.corpus", "meteor").wordnet
    try:
        wordnet.ensure_loaded()
    except LookupError:
        folder = Path(os.environ.get("WNSEARCHDIR", "/usr/share/wordnet"))
        if (folder / "data.noun").exists():
            return _wordnet_of_system(folder)
        raise SetupError(
            "meteor needs WordNet: python -m nltk.downloader wordnet. Without nltk's data page, Debian and "
            "Ubuntu have it (apt-get install wordnet-base); another copy's folder goes into WNSEARCHDIR"
        ) from None
    return wordnet


def _wordnet_of_system(folder: Path) -> Any:
    """Open WordNet's own files. nltk also needs two files that METEOR does not use: the names of the topics
    (replaced here) and the map of senses to other versions of WordNet (left out)."""
    import io
    import warnings

    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        def open(self, file: str) -> Any:
            topics = "".join(f"{n:02d}\ttopic.{n}\t1\n" for n in range(45))
            return io.StringIO(topics) if file == "lexnames" else super().open(file)

        def map_wn(self, version: str = "wordnet") -> None:
            return None

    nltk.data.path.append(str(folder))  # nltk reads nothing outside its data folders
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions")
        return Reader(str(folder), omw_reader=None)
