"""Reply against reference: exact match, token F1, ROUGE; and how long the reply is.

With several references the best score counts. A sample without any reference (all blank) is not scored.
Where the prompt held passages to cite, citation marks (``[1]``, ``[1, 2]``) are removed from reply and
references first, unless told otherwise: they are judged by the citation metrics.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal, get_args

from evalkit.data.sentences import split_sentences
from evalkit.errors import MetricError, UsageError, did_you_mean
from evalkit.metric import Metric
from evalkit.metrics.citation import without_marks
from evalkit.metrics.skip_bigrams import su4
from evalkit.types import Answer, Sample

Kind = Literal["rouge1", "rouge2", "rougeL", "rougeLsum", "rougeSU4"]
Stat = Literal["f", "precision", "recall"]
Sentences = Literal["newline", "split"]
Compare = Callable[[str, tuple[str, ...]], float]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """SQuAD's normalization: lower case, no ASCII punctuation, no articles (a, an, the), single spaces.

    One step beyond SQuAD: where nothing would be left of a text ("A", the answer to a choice; "?"), the step
    that emptied it is not taken, so that an empty reply never equals a reference.
    """
    lower = text.lower()
    words = lower.translate(_NO_PUNCTUATION)
    steps = (_ARTICLES.sub(" ", words), words, lower)
    return next((" ".join(step.split()) for step in steps if step.strip()), "")


def exact_match(*, strip_citations: bool = True) -> Metric:
    """1 where the reply equals a reference after SQuAD's normalization (see ``normalize``), otherwise 0.

    Source: Rajpurkar et al. 2016 and SQuAD's evaluation script.
    """
    name = name_of("exact_match", strip_citations=(strip_citations, True))
    fn = partial(scored, _exact_match, strip_citations)
    return Metric(name, fn, help="1 if the reply equals a reference (SQuAD normalization)")


def token_f1(*, strip_citations: bool = True) -> Metric:
    """F1 over the bag of normalized words that reply and reference share; the best over references.

    Source: Rajpurkar et al. 2016 and SQuAD's evaluation script.
    """
    name = name_of("token_f1", strip_citations=(strip_citations, True))
    fn = partial(scored, _token_f1, strip_citations)
    return Metric(name, fn, help="F1 over the words shared with the best reference (SQuAD)")


def rouge(
    kind: Kind = "rougeL",
    *,
    stem: bool = True,
    stat: Stat = "f",
    sentences: Sentences = "newline",
    strip_citations: bool = True,
) -> Metric:
    """ROUGE as Google's ``rouge-score`` 0.1.2 computes it, between 0 and 1 (papers print it times 100).

    ``stem`` applies Porter's stemmer to words of more than three letters. With several references the one
    with the highest F counts, for every ``stat``. Only ASCII letters and digits make words.

    ``rougeLsum`` compares sentence by sentence. ``sentences="newline"`` is rouge-score's own behaviour:
    sentences are lines, so a text on one line is one sentence and gets plain ``rougeL``'s value.
    ``sentences="split"`` puts each sentence on its own line first, as most summarization papers do.
    ``rougeSU4`` is ROUGE-1.5.5's (see ``skip_bigrams``), BioASQ's measure of ideal answers.
    Raises ``UsageError`` for an unknown kind, stat or way to find sentences.

    Source: Lin 2004; the package ``rouge-score-rs`` computes the same and is used where it is installed.
    """
    for value, known in ((kind, Kind), (stat, Stat), (sentences, Sentences)):
        if value not in get_args(known):
            names = ", ".join(get_args(known))
            raise UsageError(f"rouge: {value!r} is none of {names}.{did_you_mean(value, get_args(known))}")
    name = name_of(
        kind,
        stem=(stem, True),
        stat=(stat, "f"),
        sentences=(sentences, "newline"),
        strip_citations=(strip_citations, True),
    )
    compare = partial(_rouge, kind, stem, stat, sentences == "split" and kind == "rougeLsum")
    return Metric(name, partial(scored, compare, strip_citations), help=f"ROUGE ({kind}, {stat})")


def length() -> Metric:
    """Words of the reply; citation marks do not count where the prompt held passages. Never ranked."""
    return Metric(
        "length",
        _length,
        high=None,
        higher_is_better=None,
        kind="fact",
        unit="words",
        help="words of the reply",
    )


def name_of(base: str, **parameters: tuple[Any, Any]) -> str:
    """``base[name=value,…]`` of those parameters, given as (value, default), that differ."""
    told = [f"{name}={value}" for name, (value, default) in parameters.items() if value != default]
    return f"{base}[{','.join(told)}]" if told else base


def scored(compare: Compare, strip_citations: bool, sample: Sample, answer: Answer) -> float | None:
    """``compare(reply, references)`` of one sample; None where it has no reference."""
    clean = without_marks if strip_citations and answer.passages is not None else str
    given = [target for target in sample.targets if target.strip()]
    references = tuple(filter(str.strip, map(clean, given)))
    if given and not references:
        raise MetricError(
            f"sample {sample.id!r}: the reference {given[0]!r} is nothing but citation marks; "
            "use strip_citations=False"
        )
    return compare(clean(answer.reply), references) if references else None


def _exact_match(reply: str, references: tuple[str, ...]) -> float:
    return float(normalize(reply) in map(normalize, references))


def _token_f1(reply: str, references: tuple[str, ...]) -> float:
    words = Counter(normalize(reply).split())
    return max(_overlap_f1(words, Counter(normalize(reference).split())) for reference in references)


def _overlap_f1(reply: Counter[str], reference: Counter[str]) -> float:
    shared = (reply & reference).total()
    return 2 * shared / (reply.total() + reference.total()) if shared else 0.0


def _rouge(kind: Kind, stem: bool, stat: Stat, split: bool, reply: str, references: tuple[str, ...]) -> float:
    prepare = _one_sentence_a_line if split else _encodable
    said, wanted = prepare(reply), [prepare(text) for text in references]
    if kind == "rougeSU4":
        score: Any = su4(said, wanted, stem)
    else:
        score = _scorer(kind, stem).score_multi(wanted, said)[kind]
    column = {"f": "fmeasure", "precision": "precision", "recall": "recall"}[stat]
    return float(getattr(score, column))


@cache
def _scorer(kind: Kind, stem: bool) -> Any:
    try:
        from rouge_score_rs.rouge_scorer import RougeScorer
    except ImportError:  # no wheel for this platform: the reference, a hundred times slower
        from rouge_score.rouge_scorer import RougeScorer
    return RougeScorer([kind], use_stemmer=stem)


def _encodable(text: str) -> str:
    """Lone surrogates, which a reply's JSON can hold, become ``?``: to ROUGE both are no word."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _one_sentence_a_line(text: str) -> str:
    return "\n".join(" ".join(sentence.split()) for sentence in split_sentences(_encodable(text)))


def _length(sample: Sample, answer: Answer) -> float:
    reply = answer.reply if answer.passages is None else without_marks(answer.reply)
    return float(len(reply.split()))
