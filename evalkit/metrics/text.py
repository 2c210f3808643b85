"""Reply against reference: exact match, token F1, ROUGE; and the length of the reply.

With several references, the best score counts. The metrics do not apply to a sample without any reference
(all blank). Where the prompt held passages, citation marks (``[1]``, ``[1, 2]``) are removed from reply and
references first, unless ``strip_citations`` is False: the citation metrics judge the marks.
"""

from __future__ import annotations

import logging
import re
import string
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal, get_args

from evalkit.data.sentences import split_sentences
from evalkit.data.words import spans, words
from evalkit.errors import MetricError
from evalkit.metric import Metric, check_option
from evalkit.metrics.skip_bigrams import su4, tokenizer_of
from evalkit.reading.fold import fold
from evalkit.reading.marks import without_marks
from evalkit.types import Answer, Sample

Kind = Literal["rouge1", "rouge2", "rougeL", "rougeLsum", "rougeSU4"]
Stat = Literal["f", "precision", "recall"]
Sentences = Literal["newline", "split"]
Tokenizer = Literal["rouge-score", "unicode"]
Compare = Callable[[str, tuple[str, ...]], float]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Apply SQuAD's normalization: lower case, no ASCII punctuation, no articles (a, an, the), single spaces.

    One difference to SQuAD: a step that would empty a text ("A", the answer to a choice; "?") is left out, so
    that an empty reply never equals a reference.
    """
    lower = text.lower()
    words = lower.translate(_NO_PUNCTUATION)
    for step in (_ARTICLES.sub(" ", words), words, lower):
        if normal := " ".join(step.split()):
            return normal
    return ""


def exact_match(*, strip_citations: bool = True) -> Metric:
    """Return ``exact_match``: 1 where the reply equals a reference after ``normalize``, otherwise 0.

    Source: Rajpurkar et al. 2016 and SQuAD's evaluation script.
    """
    name = name_of("exact_match", strip_citations=(strip_citations, True))
    fn = partial(scored, _exact_match, strip_citations)
    return Metric(name, fn, help="1 if the reply equals a reference (SQuAD normalization)")


def token_f1(*, tokenizer: Literal["squad", "unicode"] = "squad", strip_citations: bool = True) -> Metric:
    """Return ``token_f1``: F1 over the bags of normalized words of reply and reference; the best counts.

    SQuAD's words are what spaces separate. ``tokenizer="unicode"`` takes the words of ``evalkit.data.words``:
    single characters where a script has no spaces. Raises ``UsageError`` for another tokenizer.
    Source: Rajpurkar et al. 2016 and SQuAD's evaluation script.
    """
    check_option("token_f1", tokenizer, ("squad", "unicode"))
    name = name_of("token_f1", tokenizer=(tokenizer, "squad"), strip_citations=(strip_citations, True))
    fn = partial(scored, partial(_token_f1, tokenizer == "unicode"), strip_citations)
    return Metric(name, fn, help="F1 over the words shared with the best reference (SQuAD)")


def rouge(
    kind: Kind = "rougeL",
    *,
    stem: bool = True,
    stat: Stat = "f",
    sentences: Sentences = "newline",
    tokenizer: Tokenizer = "rouge-score",
    strip_citations: bool = True,
) -> Metric:
    """Return ROUGE as Google's ``rouge-score`` 0.1.2 computes it, between 0 and 1 (papers: times 100).

    ``stem`` applies Porter's stemmer to words of more than three letters. With several references, the one
    with the highest F counts, for every ``stat``.

    rouge-score's words consist of ASCII letters and digits only. ``tokenizer="unicode"`` takes the words of
    all scripts (``evalkit.data.words``): single characters in Chinese, Japanese, Korean and Thai, the same
    words as rouge-score in ASCII text. With the default, a text of which rouge-score reads less than half
    is named on stderr, once.

    ``rougeLsum`` compares sentence by sentence. ``sentences="newline"`` is rouge-score's own behaviour:
    sentences are lines, so a text on one line is one sentence and gets the value of ``rougeL``.
    ``sentences="split"`` first puts each sentence on its own line, as most summarization papers do.
    ``rougeSU4`` is the measure of ROUGE-1.5.5 (see ``skip_bigrams``), BioASQ's measure of ideal answers.
    Raises ``UsageError`` for an unknown kind, stat, tokenizer or way to find sentences.

    Source: Lin 2004. The package ``rouge-score-rs`` computes the same and is used where it is installed.
    """
    given = ((kind, Kind), (stat, Stat), (sentences, Sentences), (tokenizer, Tokenizer))
    for value, options in given:
        check_option("rouge", value, get_args(options))
    name = name_of(
        kind,
        stem=(stem, True),
        stat=(stat, "f"),
        sentences=(sentences, "newline"),
        tokenizer=(tokenizer, "rouge-score"),
        strip_citations=(strip_citations, True),
    )
    split = sentences == "split" and kind == "rougeLsum"
    compare = partial(_rouge, kind, stem, stat, split, tokenizer == "unicode")
    return Metric(
        name,
        partial(scored, compare, strip_citations),
        help=f"ROUGE ({kind}, {stat})",
        version=2 if split else 1,  # 2: other sentence borders (``split_sentences``)
    )


def length() -> Metric:
    """Return ``length``: words of the reply, without citation marks where the prompt held passages.

    White space separates words; in Chinese, Japanese, Korean and Thai each character counts.
    """
    return Metric(
        "length",
        _length,
        high=None,
        higher_is_better=None,
        kind="fact",
        unit="words",
        help="words of the reply",
        version=2,  # 2: characters of scripts without spaces count; before, the whole text was one word
    )


def name_of(base: str, **parameters: tuple[Any, Any]) -> str:
    """Return ``base[name=value,…]`` with the parameters, pairs of value and default, whose value is not the
    default."""
    changed = [f"{name}={value}" for name, (value, default) in parameters.items() if value != default]
    return f"{base}[{','.join(changed)}]" if changed else base


def scored(compare: Compare, strip_citations: bool, sample: Sample, answer: Answer) -> float | None:
    """Return ``compare(reply, references)`` of one sample; None where the sample has no reference."""
    clean = without_marks if strip_citations and answer.passages is not None else str
    targets = [target for target in sample.targets if target.strip()]
    references = tuple(filter(str.strip, map(clean, targets)))
    if targets and not references:
        raise MetricError(
            f"sample {sample.id!r}: the reference {targets[0]!r} consists of citation marks only; "
            "use strip_citations=False"
        )
    return compare(clean(answer.reply), references) if references else None


def _exact_match(reply: str, references: tuple[str, ...]) -> float:
    return float(normalize(reply) in map(normalize, references))


def _token_f1(unicode: bool, reply: str, references: tuple[str, ...]) -> float:
    def bag(text: str) -> Counter[str]:
        return Counter(words(normalize(fold(text))) if unicode else normalize(text).split())

    return max(_overlap_f1(bag(reply), bag(reference)) for reference in references)


def _overlap_f1(reply: Counter[str], reference: Counter[str]) -> float:
    shared = (reply & reference).total()
    return 2 * shared / (reply.total() + reference.total()) if shared else 0.0


def _rouge(
    kind: Kind, stem: bool, stat: Stat, split: bool, unicode: bool, reply: str, references: tuple[str, ...]
) -> float:
    prepare = _sentence_per_line if split else _encodable
    reply, prepared = prepare(reply), [prepare(text) for text in references]
    if unicode:
        reply, *prepared = (_in_ascii(text, stem) for text in (reply, *prepared))
        stem = False
    elif any(map(_is_mostly_unread, (reply, *prepared))):
        _say_unread()
    if kind == "rougeSU4":
        score: Any = su4(reply, prepared, stem)
    else:
        score = _scorer(kind, stem).score_multi(prepared, reply)[kind]
    column = {"f": "fmeasure", "precision": "precision", "recall": "recall"}[stat]
    return float(getattr(score, column))


def _in_ascii(text: str, stem: bool) -> str:
    """Return the words of all scripts, line by line, in letters and digits that rouge-score reads."""
    tokenize = tokenizer_of(stem).tokenize
    lines = (words(line.lower()) for line in fold(text).split("\n"))
    return "\n".join(
        " ".join(" ".join(tokenize(w)) if w.isascii() else f"u{w.encode().hex()}" for w in line)
        for line in lines
    )


def _is_mostly_unread(text: str) -> bool:
    if text.isascii():
        return False
    characters = [c for c in text if c.isalnum()]
    return sum(map(str.isascii, characters)) < len(characters) / 2


@cache
def _say_unread() -> None:
    logging.getLogger(__name__).warning(
        "evalkit: ROUGE: rouge-score reads only the letters a-z and digits, which are less than half of some "
        "reply or reference; the rest counts as nothing. For other scripts: rouge(…, tokenizer='unicode')"
    )


@cache
def _scorer(kind: Kind, stem: bool) -> Any:
    try:
        from rouge_score_rs.rouge_scorer import RougeScorer
    except ImportError:  # no wheel for this platform: use the reference, a hundred times slower
        from rouge_score.rouge_scorer import RougeScorer
    return RougeScorer([kind], use_stemmer=stem)


def _encodable(text: str) -> str:
    """Replace lone surrogates, which a reply's JSON can hold, by ``?``: ROUGE ignores both."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _sentence_per_line(text: str) -> str:
    return "\n".join(" ".join(sentence.split()) for sentence in split_sentences(_encodable(text)))


def _length(sample: Sample, answer: Answer) -> float:
    reply = answer.reply if answer.passages is None else without_marks(answer.reply)
    return float(len(spans(reply)))
