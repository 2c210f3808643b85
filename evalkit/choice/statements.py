"""Places of a reply that state an answer: JSON fields, tags, boxes, and sentences of several languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from evalkit.reading.patterns import regex

# No Latin letter or digit beside a letter, no "'s" after it. Chinese, Japanese and Korean words may touch it.
BEFORE = r"(?<![A-Za-z0-9_\u00c0-\u024f])"
AFTER = r"(?![A-Za-z0-9_\u00c0-\u024f]|'[A-Za-z])"

_LAST = 100  # statements that are looked at, from the end
_REST = r"(?P<rest>[^\n]{0,500})"
_SURE = (
    r"(?:(?:most|more|very)\s+)?(?:likely|probably|clearly|definitely|certainly|obviously|therefore|thus|hence"
    r"|indeed|simply|actually|best|of course)"
)

_FALSE_KEY = (
    r"(?:wrong|incorrect|false|not|eliminated|rejected|excluded|other|second|runner|alternative|worst)"
)
_KEY = r"(?P<key>answer|choice|option|letter|prediction|selection|response)"
_VALUE = r"""(?P<rest>"[^"\n]*"|'[^'\n]*'|\[[^\]\n]*\]|[^\s,}{\[][^,}\n]*)"""
_FIELD = regex(
    rf"""["'](?!{_FALSE_KEY})(?:\w{{1,30}}[_ -])?{_KEY}(?:[_ -]\w{{1,30}})?["']\s*:\s*{_VALUE}""",
    re.IGNORECASE,
)
_TAG = regex(
    r"[<\[](?P<name>(?:final_?|correct_?)?(?:answer|choice|option|letter|final|response|result|output))[>\]]"
    r"(?P<rest>.{0,500}?)(?:[<\[]/(?P=name)[>\]]|$)",
    re.IGNORECASE | re.DOTALL,
)
_BOX = regex(r"\\(?:boxed|fbox)\s*\{(?P<rest>[^{}]*)\}|\\boxed\s+(?P<bare>[A-Z])\b")

# "The correct answer to this question would be (B)": a noun, some words, "is" or a colon, the line's rest.
_NOUN = (
    r"(?:answers?|ans|option|choice|selection|pick|guess|response|(?:correct|right|best)\s+(?!to\b)[a-z]+"
    r"|(?:(?:final|correct|model|predicted|my)_)?(?:answer|option|choice)(?:_(?:choice|letter|option))?)"
)
_WORD = r"(?:,?\s+(?!(?-i:[A-HJ-Z])\b)(?!(?:choices|options|answers)\s*[:=]|(?:and|but)\b)[\w'/-]+)"
_IS = (
    r"(?:is|was|would\s+be|should\s+be|must\s+be|will\s+be|remains|becomes"
    r"|(?:has|ought|seems|appears|turns\s+out)\s+to\s+be)\b"
)
_STATED = regex(
    rf"(?<![\w-]){_NOUN}\b\.?{_WORD}{{0,8}}?,?"
    rf"(?:\s+{_IS}(?:\s*:|\s+-(?=\s))?|\s*(?:[:=→⇒➜➔👉]|->|=>)|\s+-(?=\s)|(?<=\bans\.)(?=\s))\s*{_REST}",
    re.IGNORECASE,
)
_PLURAL = regex(rf"\b(?:answers|options|choices)\s+are\b\s*:?\s*{_REST}", re.IGNORECASE)
_HEADED = regex(
    r"(?:^|(?<=[\n.;!?]))\W{0,4}"
    r"(?:correct|right|solution|conclusion|verdict|result|prediction|final|output|label|key)"
    rf"\W{{0,2}}[:=]\s*{_REST}",
    re.IGNORECASE,
)
_CHOSEN = regex(
    r"(?:\b(?:is|be)\s+(?=(?:option|choice)\b)"
    r"|\b(?:choose|chose|choosing|pick|picked|select|selected|selecting|go(?:ing)?\s+with|opt(?:ing)?\s+for"
    r"|vote\s+for|settle\s+on|I(?:'d|\s+would)\s+say|conclude|leav(?:es|ing)(?:\s+us\s+with|\s+only)?"
    rf"|(?:corresponds?|points?)\s+to)\b)\s*:?\s*{_REST}",
    re.IGNORECASE,
)
# "Therefore, B.", "I think it is B", "not A but B": a letter that ends its clause.
_LEAD = (
    rf"(?:{_SURE}|so|consequently|accordingly|overall|finally|in\s+(?:conclusion|summary|short)"
    r"|I\s+(?:think|believe)|I(?:'m|\s+am)\s+(?!not\b)(?:\w+\s+)?(?:confident|sure|certain)(?:\s+that)?"
    r"|(?:it|that)(?:'s|\s+is|\s+(?:must|should|would|has\s+to)\s+be)|this\s+is|which\s+is|must\s+be"
    r"|should\s+be|sure|okay|ok|well)"
)
_LETTER = rf"(?:(?:option|choice|letter)\s+)?[(\[\"']*{BEFORE}[A-Z]{AFTER}[)\]\"']*\s*"
_STOP = r"(?:[.!;]|,\s+not\b|(?:because|since|as)\b|$|(?=\n))"
_CONCLUDED = regex(
    rf"(?:^|[.,;:!?\n]\s*|\b(?:but|and)\s+)(?=\w)(?:{_LEAD}\b[,:]?\s*){{1,4}}(?P<rest>{_LETTER}{_STOP})",
    re.IGNORECASE | re.MULTILINE,
)
_CONTRAST = regex(
    rf"(?:\bnot|n't)\b[^.\n]{{1,60}}?\bbut\s+(?:rather\s+|instead\s+)?(?P<rest>{_LETTER}(?:,|{_STOP}))",
    re.IGNORECASE,
)
_LAST_WORD = regex(rf"(?<=[a-z]{{3}}[.!?])\s+(?P<rest>[(\[\"']*{BEFORE}[A-Z]{AFTER}[)\]\"']*[.!]?)\s*\Z")

# "The answer is" in other languages: Spanish, Portuguese, Italian, French, German, …
_FOREIGN_IS = (
    r"\b(?:respuesta|opci[oó]n|alternativa|elecci[oó]n|correcta)(?:\s+(?:correcta|final))*\s*(?:\bes\b|ser[ií]a|[:=])",
    r"\b(?:resposta|op[cç][aã]o|alternativa)(?:\s+(?:correta|certa|final))*\s*(?:\bé\b|[:=])",
    r"\b(?:risposta|opzione)(?:\s+(?:corretta|giusta|esatta|finale))*\s*(?:è|[:=])",
    r"\br[ée]ponse(?:\s+(?:correcte|exacte|finale|juste))*\s*(?:\best\b|[:=])",
    r"\b(?:richtig\s+(?:ist|w[aä]re)|lautet\s+die\s+(?:richtige\s+)?antwort)\b",
    r"\b(?:antwort|l[oö]sung|option)(?:\s*(?:ist|lautet|w[aä]re))?\s*(?:[:=]|(?<=ist)|(?<=lautet)|(?<=re))",
    r"\b(?:antwoord|odpowied[zź]|cevap|svaret|svar|jawaban(?:nya)?|vastaus|odpov[eě][dď]|v[aá]lasz|r[aă]spuns|yan[ıi]t)(?:\s+(?:is|er|to|adalah))?\s*[:=]?",
    r"\b(?:đáp\s+án(?:\s+đúng)?|απ[αά]ντηση)(?:\s+(?:là|είναι))?\s*[:=]?",
    r"(?:відповідь|תשובה|پاسخ|คำตอบ)\s*(?:คือ)?\s*[:=-]?",
    r"ответ(?:ом)?(?:\s+(?:это|является|будет))?\s*[:=-]?",
    r"вариант(?:\s+ответа)?\s*[:=-]",
    r"(?<!错误)(?<!錯誤)(?:选项|選項)\s*[是为為]\s*[:=]?",
    r"答案\s*(?:应该|應該|应|應)?[是为為选選]?\s*[:=]?",
    r"(?<!\w)答\s*[:=]",
    r"(?<!不)正[确確]的?[是为為]\s*:?",
    r"(?<!不)(?<!不应)(?<!不應)(?<!不能)(?<!不会)(?<!不可)(?<!不要)[应應故]?[选選][择擇]?\s*[:=]?",
    r"(?:答え|正解|正答|回答|解答)\s*[はが]?\s*[:=、,]?",
    r"(?<!오)(?:정답|답변|답)\s*[은는이]?\s*[:=]?",
    r"(?:الإجابة|الجواب)(?:\s+الصحيحة?)?\s*(?:هي|هو)?\s*[:=]?",
    r"उत्तर\s*(?:है)?\s*[:=]?",
)
_FOREIGN = regex(rf"(?:{'|'.join(_FOREIGN_IS)})\s*{_REST}", re.IGNORECASE)
FOREIGN_FALSE = regex(
    r"(?:falsch|incorrect|incorret|err[oó]ne|equivocad|mauvaise|fausse|sbagliat|errat|неправильн|неверн|错误|錯誤"
    r"|不正确|不正確|誤|間違|틀린|잘못|yanlış|fout|nicht)\w*\W{0,3}(?:\w+\W{1,3}){0,2}$",
    re.IGNORECASE,
)
_PROSE = (("stated", _STATED), ("stated", _PLURAL), ("stated", _HEADED), ("stated", _FOREIGN))
_SHORT = (("chosen", _CHOSEN), ("concluded", _CONCLUDED), ("concluded", _CONTRAST), ("concluded", _LAST_WORD))


@dataclass(frozen=True)
class Statement:
    """A place of a reply: the statement's begin, and its content from ``start`` to ``end``.

    ``at`` orders the statements: a field counts as the end of its object, a tag as its own end.
    """

    kind: str
    begin: int
    start: int
    end: int
    at: int

    @property
    def whole(self) -> bool:
        """Whether the content is the answer and nothing else: a field, a tag or a box."""
        return self.kind in ("field", "tag", "boxed")


def statements(plain: str) -> list[Statement]:
    """Return the statements of a reply, the last one first."""
    found = [*_marked(plain), *_in_prose(plain)]
    return sorted(found, key=lambda it: (it.at, it.start), reverse=True)[:_LAST]


def _marked(plain: str) -> Iterator[Statement]:
    fields = list(_FIELD.finditer(plain))
    answers = [field for field in fields if field["key"].lower() == "answer"]
    for field in answers or fields:
        close = plain.find("}", field.end())
        at = len(plain) if close < 0 else close
        yield Statement("field", field.start(), field.start("rest"), field.end("rest"), at)
    for tag in _TAG.finditer(plain):
        yield Statement("tag", tag.start(), tag.start("rest"), tag.end("rest"), tag.end())
    for box in _BOX.finditer(plain):
        group = "rest" if box["rest"] is not None else "bare"
        yield Statement("boxed", box.start(), box.start(group), box.end(group), box.end())


def _in_prose(plain: str) -> Iterator[Statement]:
    for kind, pattern in (*_PROSE, *_SHORT):
        position = 0
        while match := pattern.search(plain, position):
            start, end = match.span("rest")
            yield Statement(kind, match.start(), start, end, start)
            position = max(start, position + 1)  # a line may hold several
