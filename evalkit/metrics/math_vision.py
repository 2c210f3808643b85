"""The rule of MATH-Vision's authors, with its flaws, beside our own ``math_answer``.

Source: ``evaluation/evaluate.py`` and ``utils.py`` of github.com/mathllm/MATH-V (Wang et al. 2024). They
evaluate expressions with latex2sympy; here ``value_of`` does, which reads the same short expressions.
"""

from __future__ import annotations

import re

from evalkit.metric import Metric
from evalkit.metrics.latex import value_of
from evalkit.reading.patterns import regex
from evalkit.types import Answer, Sample

_LETTERS = "ABCDE"
_FLAGS = ("the final answer is", "the answer is", "the correct answer is", "the answer should be")
_BOXED = regex(r"oxed{(.*)}", re.DOTALL)
# What the authors remove, in their order, from an answer in lower case.
_REMOVED = (
    *((old, "") for old in (" ", "\\,")),
    ("∞", "\\infty"),
    ("+\\infty", "\\infty"),
    ("\\\\", "\\"),
    ("\n", ""),
    *((old, "") for old in ("\\text", "\\mbox")),
    ("bmatrix", "pmatrix"),
    *((old, "") for old in ("\\left", "\\right", "^{\\circ}", "^\\circ", "{m}^3", "m^3")),
    *((old, "") for old in ("{units}", "units", "{km}", "km")),
)
_STRIPPED = (
    ("\\!", ""),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    *((old, "") for old in ("\\left", "\\right", "^{\\circ}", "^\\circ", "\\$", "$")),
)


def math_vision_official() -> Metric:
    """Return ``math_vision_official``: 1 where the authors' rule finds the answer right, otherwise 0.

    The answer is a letter at the reply's end or beginning, what stands behind "the answer is", the content of
    the last ``\\boxed{}``, or the whole reply. It is right if it equals the target or the option's text, as
    text or as numbers rounded to two decimals.
    """
    return Metric("math_vision_official", _official, help="1 if right by the rule of MATH-Vision's authors")


def _official(sample: Sample, answer: Answer) -> float:
    return float(is_right(sample, answer.reply))


def is_right(sample: Sample, reply: str) -> bool:
    """Return whether the authors' rule finds a reply right."""
    final = final_answer(reply)
    named = [*sample.targets, *(chr(ord("A") + index) for index in sample.answers)]
    right = [*named, *(_option(sample, target) for target in named)]
    return any(_equal(target, final) for target in right)


def _option(sample: Sample, target: str) -> str:
    index = ord(target) - ord("A") if len(target) == 1 else -1
    return sample.choices[index] if 0 <= index < len(sample.choices) else ""


def final_answer(reply: str) -> str:
    """Return the final answer of a reply, in the authors' normal form."""
    text = reply.strip()
    for letter in _LETTERS:
        if text.endswith((f" {letter}.", f" ({letter}).")) or text.startswith(
            (f"{letter}\n", f"({letter})\n", f"({letter}) {letter}\n")
        ):
            text = letter
    last = text.split("is ")[-1].rstrip(".")
    text = last if _is_number(last) else text
    if "oxed{" not in text:
        for flag in _FLAGS:
            for spelt in (flag, flag.replace("the", "The")):
                *before, text = text.split(spelt)
                text = text.strip()
                text = text.split("\n")[0].split(". ")[0] if before else text
    elif text.count("oxed{") > 1:
        text = "\\boxed{" + text.split("oxed{")[-1]
    text = _normal(text)
    for letter in "abcde":
        text = text.replace(f"({letter})", letter)
    for letter in "abcde":
        text = text.replace(f"{{{letter}}}", letter)
    return text.rstrip(".").lstrip(":").strip()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _normal(text: str) -> str:
    text = text.lower().replace("{}", "")
    boxes: list[str] = _BOXED.findall(text)
    text = boxes[-1] if boxes else text
    close, opening = text.find("}"), text.find("{")
    if close != -1 and (opening == -1 or close < opening):
        text = text.split("}")[0]
    text = text.split("=")[-1].split("\\approx")[-1]
    for old, new in _REMOVED:
        text = text.replace(old, new)
    return _stripped(text)


def _stripped(text: str) -> str:
    """Return an answer in the form of ``_strip_string``, which the authors took from the MATH data set."""
    for old, new in _STRIPPED:
        text = text.replace(old, new)
    text = text.split("\\text{ ")[0].replace("\\%", "").replace("{.", "{0.")
    if not text:
        return text
    text = "0" + text if text[0] == "." else text
    for sign in ("=", "\\approx"):
        text = text.split(sign)[-1] if text.count(sign) == 1 else text
    if "sqrt" in text:
        text = _braced_fractions(re.sub(r"\\sqrt(?=[^{])(.)", r"\\sqrt{\1}", text))
    if text == "0.5":
        return "\\frac{1}{2}"
    slash = re.fullmatch(r"(-?(?:0|[1-9]\d*))/(-?(?:0|[1-9]\d*))", text)
    return f"\\frac{{{slash[1]}}}{{{slash[2]}}}" if slash else text


def _braced_fractions(text: str) -> str:
    """Return ``\\frac12`` as ``\\frac{1}{2}``."""
    first, *rest = text.split("\\frac")
    for part in rest:
        if part.startswith("{"):
            first += f"\\frac{part}"
        elif len(part) < 2:
            return text
        else:
            over = part[1:] if part[1] == "{" else f"{{{part[1]}}}{part[2:]}"
            first += f"\\frac{{{part[0]}}}{over}"
    return first


def _equal(target: str, final: str) -> bool:
    target, final = target.lower(), final.lower()
    if not target.replace(" ", "") or not final.replace(" ", ""):
        return False
    if target.strip() == final.strip():
        return True
    target, final = _tuple_form(target), _tuple_form(final)
    if target == final:
        return True
    left, right = _value(target), _value(final)
    return left is not None and right is not None and round(left, 2) == round(right, 2)


def _value(text: str) -> float | None:
    """Return the value of an expression, as latex2sympy reads it: without ``$``, up to a brace too many."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            text = text[:place]
            break
    return value_of(text.replace("$", ""))


def _tuple_form(text: str) -> str:
    """Return a tuple or list with its elements as rounded numbers; any other text unchanged."""
    parts = text[1:-1].split(",")
    if len(parts) < 2 or (text[0], text[-1]) not in (("(", ")"), ("[", "]")):
        return text
    values = [part if "infty" in part or part in ("a", "-a") else _rounded(part) for part in parts]
    return text if None in values else f"{text[0]}{','.join(map(str, values))}{text[-1]}"


def _rounded(text: str) -> str | None:
    value = value_of(text)
    if value is None:
        return None
    return str(int(value)) if value.is_integer() and "." not in text else str(round(value, 2))
