"""Reasoning that stands in the text of a reply: split off from the answer, for every model and every path.

Models mark their reasoning in many ways. Often the chat template writes the opening mark, so that only the
closing one is in the reply. The rules:

- The answer is the last piece outside of the reasoning that is not blank.
- A closing mark without an opening one ends reasoning that began with the reply.
- Reasoning that never ends leaves no answer: what it considers is not what the model says. Marks of another
  name that it holds in pairs do not end it: ``<think>Write <reasoning>…</reasoning>, then``.
- A mark in backticks or in quotation marks is a word of the text. Behind the reasoning, so is one in a block
  of code.

A model whose marks are not known here has its own in its spec: ``?reasoning_marks=OPEN,CLOSE``.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Iterator
from functools import lru_cache

from evalkit.reading.patterns import regex

Marks = tuple[str, str]
UNFINISHED = "the reasoning has no closing mark: no answer"  # noted with a reply

# Opening and closing marks by family, each without its first character, which is one of _FIRST. A mark inside
# the reasoning of another family is part of the reasoning.
_FIRST = r"[<\[◁]"
_NAME = (
    r"(?:\w{1,12}[:_|])?(?:think(?:ing)?|thoughts?|chain_of_thought|cot|reason(?:ing)?|rationale|reflection"
    r"|analysis|inner_monologue|scratchpad)(?:_\w{1,12})?"
)
_PAIRS = (
    (
        rf"(?i:{_NAME}(?:\s[^<>]{{0,60}})?>)",
        rf"(?i:/{_NAME}\s*>)",
    ),  # DeepSeek, Qwen, GLM, Phi, EXAONE, Nemotron, Seed-OSS, MiniMax, LongCat, and what prompts ask for
    (r"\|think(?:ing)?\|>", r"\|/think(?:ing)?\|>"),
    (r"THINK\]", r"/THINK\]"),  # Magistral
    ("think▷", "/think▷"),  # Kimi
    (r"\|START_THINKING\|>", r"\|END_THINKING\|>"),  # Cohere
    (r"\|begin_of_thought\|>", r"\|end_of_thought\|>"),
    (r"\|inner_prefix\|>", r"\|inner_suffix\|>"),  # Apertus
    (r"\|channel>thought\b", r"channel\|>"),  # Gemma
    (r"unused94>(?:thought\b)?", "unused95>"),  # MedGemma
    (r"unused16\]", r"unused17\]"),  # openPangu
    (r"\|think:start\|>", r"\|think:end\|>"),  # Solar Open
    (r"\|open\|>think<\|sep\|>", r"\|close\|>think<\|sep\|>"),  # Kimi K3
    (r"(?!)", r"BEGIN FINAL RESPONSE\]"),  # Apriel: the template opens it
)
_KNOWN = f"{_FIRST}(?:" + "|".join(f"({begin})|({end})" for begin, end in _PAIRS) + ")"
_MARKS = regex(_KNOWN)
_FENCE, _BACKTICKS = regex("```"), regex("`+")
_LINE = 1000  # characters of a line that are looked at
_QUOTES = "\"'“”‘’„«»"
_IN_BRACKETS = ("THINK]", "unused17]", "unused16]", "RESPONSE]")  # all others end with ">" or "▷"
# Marks around the answer itself, which are no part of it: Cohere, OpenThinker, Kimi K3, Apriel. Behind
# reasoning also tags: Granite, ERNIE, and Hunyuan, whose tags stand on lines of their own.
_AROUND = (
    r"<\|(?:START|END)_(?:RESPONSE|TEXT)\|>|<\|(?:begin|end)_of_solution\|>"
    r"|<\|(?:open|close)\|>(?:response|message)<\|sep\|>|<\|end_of_msg\|>|\[END FINAL RESPONSE\]"
)
_TAGS = r"|</?response>|<answer>\n|\n</answer>"


def _around(marks: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    return regex(rf"\s*(?:(?:{marks})\s*)+"), regex(rf"(?:\s*(?:{marks}))+\s*\Z")


_ALONE, _BEHIND_REASONING = _around(_AROUND), _around(_AROUND + _TAGS)
# gpt-oss writes messages in channels; only the channel "final" is the answer.
_CHANNEL = regex(
    r"(?:<\|start\|>\w*\s*)?(?:<\|channel\|>|\A)\s*(analysis|commentary|final)\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
)
_CHANNEL_END = regex(r"<\|(?:end|call|return|start|channel)\|>")
# The same where the server removed the special tokens: "analysisThe user…assistantfinalB".
_BARE_BEGIN = regex(r"\s*(?:analysis|commentary)(?=[\w\"'“(*])")
_BARE_CHANNEL = regex("assistant(analysis|commentary|final)")
# Words that open the reasoning at the beginning of a reply, and those that open the answer, by family.
_WORDS = (
    (r"Here(?:['’]s| is) my thought process:", r"Here(?:['’]s| is) my response:"),  # Granite
    (r"##\s?Thinking\b", r"##\s?Final Response\b:?"),  # HuatuoGPT-o1
    (r"Here are my reasoning steps:", r"\[BEGIN FINAL RESPONSE\]"),  # Apriel
    (r"/think\n", r"(?:<\|im_end\|>)?\n(?:<\|im_start\|>)?assistant\n"),  # HyperCLOVA X
)
_THOUGHTS = regex(r"\s*(?:" + "|".join(f"({begin})" for begin, _ in _WORDS) + ")")
_ANSWERS = [regex(answer) for _, answer in _WORDS]
# Inkling writes blocks of a type each.
_BLOCK = regex(
    r"<\|content_(thinking|text)\|>(.*?)(?:<\|(?:end_message|content_model_end_sampling)\|>|\Z)", re.DOTALL
)


def split_reasoning(text: str, marks: Marks | None = None) -> tuple[str, str]:
    """Return the reasoning and the answer of a reply; the answer is empty if the reasoning never ended.

    ``marks``: an opening and a closing mark besides those that are known. A reply without any mark is its own
    answer, unchanged.
    """
    if marks is not None and (marks[0] in text or marks[1] in text):
        return _by_marks(text, _pattern(marks))
    if ">" in text and ("<|channel|>" in text or "<|message|>" in text):
        return _harmony(text)
    if "assistantfinal" in text or _BARE_BEGIN.match(text):
        return _bare_harmony(text)
    if begin := _THOUGHTS.match(text):
        thoughts, *answer = _ANSWERS[(begin.lastindex or 1) - 1].split(text[begin.end() :], maxsplit=1)
        return thoughts.strip(), _unwrapped("".join(answer), _ALONE).strip()
    if "<|content_t" in text and (blocks := _BLOCK.findall(text)):
        answers = [piece for kind, piece in blocks if kind == "text"]
        return _joined([piece for kind, piece in blocks if kind == "thinking"]), "".join(answers).strip()
    may_have_marks = (
        ">" in text or "▷" in text or ("]" in text and any(mark in text for mark in _IN_BRACKETS))
    )
    return _by_marks(text, _MARKS) if may_have_marks else ("", text)


def after_reasoning(text: str) -> str:
    """Return an answer that a server split from its reasoning, without the blank lines between the two."""
    return text.lstrip("\r\n")


def template_mark(replies: Iterable[str], marks: Marks | None = None) -> str:
    """Return the mark with which a chat template opened the reasoning of one model's replies, or ``""``.

    A template opened it where at least a tenth of the replies close reasoning that they did not open, and
    hardly any open it themselves.
    """
    n, opened, closed, mark = 0, 0, 0, ""
    for reply in filter(str.strip, replies):
        n += 1
        first = _first_mark(reply, marks)
        if first is not None and _closes(first):
            closed, mark = closed + 1, mark or first[0]
        elif first is not None:
            opened += 1
    if not mark or closed * 10 < n or opened * 10 > closed:
        return ""
    if marks and mark == marks[1]:
        return marks[0]
    return mark.replace("/", "", 1) if "/" in mark else "<think>"


def is_unfinished(reply: str, opened_by: str, marks: Marks | None = None) -> bool:
    """Return whether a reply is all reasoning: what opened it was ``opened_by`` of a template."""
    first = _first_mark(reply, marks)
    if first is not None and _closes(first):
        return False
    return bool(reply.strip()) and not split_reasoning(opened_by + reply, marks)[1].strip()


def first_mark_closes(text: str, marks: Marks | None = None) -> bool:
    """Return whether the first mark in a reply is a closing one: the chat template wrote the opening one."""
    first = _first_mark(text, marks)
    return first is not None and _closes(first)


def _first_mark(text: str, marks: Marks | None) -> re.Match[str] | None:
    return next(_marks_in(text, _MARKS if marks is None else _pattern(marks)), None)


def _closes(mark: re.Match[str]) -> bool:
    return (mark.lastindex or 1) % 2 == 0


@lru_cache(maxsize=16)
def _pattern(marks: Marks) -> re.Pattern[str]:
    """Return the pattern of all known marks and of one further pair."""
    begin, end = map(re.escape, marks)
    return re.compile(f"({begin})|({end})|{_KNOWN}")


def _marks_in(text: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """Yield the marks of a text, but for those in quotation marks and behind a backtick that opens code."""
    for mark in pattern.finditer(text):
        before, after = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]
        quoted = before and after and before in _QUOTES and after in _QUOTES
        if not quoted and not (before == "`" and _opens_code(text, mark.start())):
            yield mark


def _opens_code(text: str, end: int) -> bool:
    """Return whether the backticks before ``end`` open code: ``use `<think>``, not ``it is `B`</think>``."""
    line = text[max(0, end - _LINE) : end].rpartition("\n")[2]
    runs = _BACKTICKS.findall(line)
    return len(runs) % 2 == 1 and len(runs[-1]) < 3


def _name(mark: re.Match[str]) -> str:
    """Return the name in a mark: ``think`` of ``</think>``."""
    words = mark[0].strip("<>/|[]◁▷ ").split()
    return words[0].lower() if words else ""


def _in_code(fences: list[int], begin: int, mark: re.Match[str]) -> bool:
    """Return whether a mark is in a block of code that begins behind ``begin`` and ends."""
    before = bisect(fences, mark.start())
    return before < len(fences) and (before - bisect(fences, begin - 1)) % 2 == 1


def _by_marks(text: str, pattern: re.Pattern[str]) -> tuple[str, str]:
    thoughts: list[str] = []
    outside: list[str] = []
    inside: int | None = None  # the number of the family that is open
    quoted: dict[str, None] = {}  # marks of this family, with other names, that its thoughts opened
    name = ""  # of the mark that is open
    end = 0
    fences = [fence.start() for fence in _FENCE.finditer(text)]
    for mark in _marks_in(text, pattern):
        family, closes = divmod((mark.lastindex or 1) - 1, 2)
        if inside is None:
            if end > 0 and _in_code(fences, end, mark):
                continue
        elif family != inside:
            continue
        elif not closes:
            if (other := _name(mark)) != name:
                quoted[other] = None
            continue
        elif (other := _name(mark)) in quoted:
            while quoted.popitem()[0] != other:
                pass
            continue
        piece = text[end : mark.start()]  # not before: each costs its length
        if inside is not None:
            thoughts.append(piece)
            inside, quoted = None, {}
        elif closes:  # the template opened it: all before is reasoning
            thoughts += [*outside, piece]
            outside = []
        else:
            outside.append(piece)
            inside, name = family, _name(mark)
        end = mark.end()
    if inside is not None:
        return _joined([*thoughts, *outside, text[end:]]), ""
    outside.append(text[end:])
    answers = [_unwrapped(piece, _BEHIND_REASONING if end else _ALONE) for piece in outside]
    said = [n for n, piece in enumerate(answers) if piece.strip()]
    rest = [piece for n, piece in enumerate(outside) if said and n != said[-1]]
    if end == 0:
        return "", answers[0]
    return _joined([*rest, *thoughts]), answers[said[-1]].lstrip() if said else ""


def _harmony(text: str) -> tuple[str, str]:
    """Split the messages of gpt-oss by their channels."""
    answer, thoughts, at = "", [], 0
    for head in _CHANNEL.finditer(text):
        thoughts.append(text[at : head.start()])
        end = _CHANNEL_END.search(text, head.end())
        at = end.start() if end else len(text)
        piece = text[head.end() : at]
        if head[1] == "final":
            answer = piece
        else:
            thoughts.append(piece)
    thoughts.append(text[at:])
    return _joined([_CHANNEL_END.sub("", piece) for piece in thoughts]), answer.strip()


def _bare_harmony(text: str) -> tuple[str, str]:
    """Split the messages of gpt-oss where their special tokens are missing."""
    begin = _BARE_BEGIN.match(text)
    first, *others = _BARE_CHANNEL.split(text[begin.end() :] if begin else text)
    named = list(zip(others[::2], others[1::2], strict=True))
    finals = [piece for name, piece in named if name == "final"]
    thoughts = [first, *(piece for name, piece in named if name != "final")]
    return _joined(thoughts), finals[-1].strip() if finals else ""


def _unwrapped(text: str, around: tuple[re.Pattern[str], re.Pattern[str]]) -> str:
    """Return an answer without the marks around it."""
    if "<" not in text and "RESPONSE]" not in text:
        return text
    before, after = around
    begin = before.match(text)
    return after.sub("", text[begin.end() :] if begin else text)


def _joined(pieces: list[str]) -> str:
    return "\n\n".join(stripped for piece in pieces if (stripped := piece.strip()))
