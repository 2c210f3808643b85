"""Plain text of titles and abstracts that have inline markup, as publishers and PubMed write it.

Without its mark a superscript changes the number before it: ``10<sup>6</sup>`` would be 106. The rule is the
same for XML and for tags inside a string:

10<sup>6</sup>, 10 <sup>-5</sup>    10^6, 10^-5: after a digit or a closing bracket
Ca<sup>2+</sup>, kg/m<sup>2</sup>   Ca2+, kg/m2: after a letter, as people type it
<sup>18</sup>F, 2<sup>nd</sup>      18F, 2nd: before an isotope's element, and in ordinals
CD4<sup>+</sup>                     CD4+: signs alone
D<sub>3</sub>, 2<sub>10</sub>       D3, 2_10: a number below another number keeps its mark
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

_REST = r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'))*\s*/?>"
_STYLE = re.compile(
    rf"</?(?:jats:)?(?:i|b|u|em|strong|italic|bold|underline|sc|small|monospace|span){_REST}", re.IGNORECASE
)
_BREAK = re.compile(rf" ?</?(?:jats:)?(?:br|p|div|li|ul|ol|sec|title|h[1-6]){_REST} ?", re.IGNORECASE)
_SCRIPTS = {
    kind: re.compile(
        rf"(?P<space> ?)<(?:jats:)?{kind}{_REST}(?P<inside>[^<>]*)</(?:jats:)?{kind}\s*>", re.IGNORECASE
    )
    for kind in ("sub", "sup")
}
_LEFT_OPEN = re.compile(rf"<(?:jats:)?(?P<kind>sup|sub){_REST}", re.IGNORECASE)
_LEFT_CLOSED = re.compile(r"</(?:jats:)?(?:sup|sub)\s*>", re.IGNORECASE)
_ORDINALS = {"st", "nd", "rd", "th"}

_MATHML = "{http://www.w3.org/1998/Math/MathML}"
_SIMPLE = re.compile(r"[-+−]?[\w.]*")


def plain(text: str) -> str:
    """Return ``text`` without inline tags, with ``^`` where a superscript would change a number."""
    if "<" not in text:
        return text
    text = _BREAK.sub(" ", _STYLE.sub("", text)).strip()
    for kind in ("sub", "sup", "sub"):  # a superscript may stand in a subscript
        text = _SCRIPTS[kind].sub(_superscript if kind == "sup" else _subscript, text)
    text = _LEFT_OPEN.sub(lambda match: "^" if match["kind"].lower() == "sup" else "", text)
    return _LEFT_CLOSED.sub("", text)


def text_of(element: Element | None) -> str:
    """Return the plain text of an XML element, with white space folded; "" for None.

    Formulas in MathML become a line: ``x^2``, ``1/2``, ``√(x)``.
    """
    return "" if element is None else " ".join(plain(" ".join(_marked(element).split())).split())


def _superscript(match: re.Match[str]) -> str:
    inside, space = match["inside"].strip(), match["space"]
    base = match.string[match.start() - 1 : match.start()] if match.start() else ""
    follows = match.string[match.end() : match.end() + 1]
    if not any(map(str.isalnum, inside)) or inside.lower() in _ORDINALS:
        return space + inside
    isotope = bool(space) and follows.isalpha()
    return f"^{inside}" if (base.isdigit() or base in set(")]}.,;:")) and not isotope else space + inside


def _subscript(match: re.Match[str]) -> str:
    inside, space = match["inside"].strip(), match["space"]
    base = match.string[match.start() - 1 : match.start()] if match.start() else ""
    return f"{space}_{inside}" if not space and base.isdigit() and inside[:1].isdigit() else space + inside


def _marked(element: Element) -> str:
    """Return the text inside an element, with the tags that ``plain`` reads."""
    if element.tag.startswith(_MATHML):
        return _formula(element)
    parts = [element.text or ""]
    for child in element:
        inner = _marked(child)
        parts += [f"<{child.tag}>{inner}</{child.tag}>" if child.tag in _SCRIPTS else inner, child.tail or ""]
    return "".join(parts)


def _formula(element: Element) -> str:
    """Return a formula of MathML on a line; white space between its elements means nothing."""
    name = element.tag.removeprefix(_MATHML)
    if name.startswith("annotation"):
        return ""  # the formula once more, in TeX
    parts = [_marked(child) for child in element]
    match name, parts:
        case "msup", [base, power]:
            return f"{base}^{_grouped(power)}"
        case "msub", [base, index]:
            return f"{base}<sub>{index}</sub>"
        case "msubsup", [base, index, power]:
            return f"{base}<sub>{index}</sub>^{_grouped(power)}"
        case "mfrac", [above, below]:
            return f" {_grouped(above)}/{_grouped(below)}"
        case "msqrt", _:
            return f"√({''.join(parts)})"
        case "mroot", [base, degree]:
            return f"({base})^(1/{degree})"
        case (("mtr" | "mtd"), _):
            return f" {''.join(parts)} "
    return "".join(parts) or (element.text or "").strip()


def _grouped(part: str) -> str:
    return part if _SIMPLE.fullmatch(part) else f"({part})"
