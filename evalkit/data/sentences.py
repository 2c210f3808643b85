"""Sentences of biomedical prose, for metrics, baselines and chunks.

Rules split the text, not a model: the same text gives the same sentences everywhere, and ten thousand
abstracts take a few seconds. Each full stop is decided by two questions: can the word before it be an
abbreviation, and can the word after it begin a sentence? The stops of Chinese, Japanese, Hindi, Arabic and
other scripts (``。！？।؟``) always end one. Thai has no stop: its sentences end with the line.
"""

from __future__ import annotations

import re

from evalkit.data.words import UNSPACED
from evalkit.reading.patterns import regex


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# "… was effective. [1][2, 3]", "… was effective.¹": citations after the stop belong to the sentence before.
_CITATIONS = r"(?:\s?[\[【]\s*\d+(?:\s*[,;–-]\s*\d+)*\s*[\]】]|[⁰¹²³⁴-⁹]+(?:[,⁻–-][⁰¹²³⁴-⁹]+)*(?=\s|$))*+"
_FULL = "。！？｡।॥؟۔።។"  # stops that need no space behind them
_STOP = regex(
    rf"(?<![.!?…{_FULL}])(?P<mark>[.!?…{_FULL}]++)(?P<close>[\"'”’»)\]」』）】》]*+{_CITATIONS})(?P<gap>\s*)"
)
# What can begin a line: capitals, and letters of scripts that have none; ranges of a character class.
CAPITAL = rf"A-ZÀ-ÖØ-ÞΑ-ΩА-ЯЁ{UNSPACED}"
_BLOCK = regex(rf"\n\s*\n|\n(?=\s*(?:[-*•–]\s|\(?\d{{1,3}}[.)]\s|[\"“(\[「『（]?[{CAPITAL}]))")
_WORD = regex(r"[^\s(\[\"'“‘/]+$")
_OPENING = "\"'“‘«([*_"
# "It hurts.The drug helps": a word that begins a sentence without a space before it, not "file.Txt.gz".
_NEW_WORD = regex(rf"[A-Z][a-z]+(?![\w@]|\.\w)|[AI] |[\"“]?[{UNSPACED}]")
_PLAIN_END = regex(r"(?:[a-z]{2}|[^A-Za-z])$")
_ADDRESS = regex(r"[/@\\]|www\.")
_HYPHENS = regex("[-‐‑–]")

# Abbreviations that always stand before another word of their sentence.
_NEVER_LAST = _words(
    """e.g i.e eg ie cf vs v.s viz ca approx resp incl excl esp fig figs figure tab tabs eq eqs ref refs
    subsp ssp var avg suppl supp loc op engl natl acad proc vit"""
)
_TITLES = _words("Dr Drs Prof Mr Mrs Ms St Mt Messrs")  # "Ms. Smith", but "within 300 ms."
# Abbreviations before a number, otherwise words or units: "No. 3", but "No. The trial was negative."
_BEFORE_NUMBER = _words(
    """no nos p pp n v vol vols sec sect ch chap art nr ser jan feb mar apr jun jul aug sep sept oct nov
    dec"""
)
# Before a small letter or a digit these are abbreviations: "a max. dose", "Temp. was 38", "Staph. aureus".
_BEFORE_SMALL = _words(
    """max min temp conc est wt vol mol equiv calc diff std sp spp seq yr yrs hr hrs mo mos wk wks mins sec
    secs pt pts pat pats exp expt ed eds staph strep ps cl lact bact salm campyl sta vib tot rel abs
    dev adj conf freq obs ped pred sens spec subj cap
    cont contd med prep sol soln tabl caps inj surg hosp gen orig ext int dist prox ant post lat bilat
    neg pos sig signif lb lbs oz nos dx rx hx tx sx abd susp oint syr mcg meq jan feb mar apr jun jul
    aug sep sept oct nov dec mon tue tues wed thu thurs fri"""
)
# Words of journals' names, which ISO 4 shortens: "J. Clin. Oncol.", "Nat. Med.".
_JOURNALS = _words(
    """Adv Am Anal Anat Anesth Anesthesiol Ann Antimicrob Appl Arch Assoc Biochem Bioeng Biol Biomed Biophys
    Biosci Biotechnol Br Brit Cardiol Cardiovasc Chem Clin Cogn Commun Comput Contemp Crit Curr
    Dermatol Diagn Dis Endocr Endocrinol Environ Epidemiol Eur Evid Exp Fam Gastroenterol Gastrointest
    Gen Genet Geriatr Gynecol Haematol Haemost Healthc Hematol Hepatol Hum Hypertens Immun Immunol
    Infect Inst Int Intern Invest Lett Manag Mech Med Metab Microbiol Mol Nat Nephrol Netw Neurol
    Neurosci Neurosurg Nucl Nurs Nutr Obstet Oncol Ophthalmol Opin Orthop Otolaryngol Paediatr
    Parasitol Pathol Pediatr Pharm Pharmacol Pharmacother Phys Physiol Pract Psychiatr Psychol Pulm
    Qual Radiol Rehabil Rep Res Respir Rev Rheum Rheumatol Saf Sci Soc Stat Surg Syst Technol Ther
    Thorac Thromb Toxicol Transl Transplant Traumatol Trop Univ Urol Vaccin Vasc Vet Virol"""
)
# Abbreviations that end a sentence only before one of the words in _STARTERS.
_MAYBE_LAST = _words("etc al spp sp inc ltd co corp dept univ jr sr phd md")
_DOTTED = regex(r"(?:(?:[A-Za-z]{1,2}|Pharm)\.-?)+[A-Za-z]{1,2}")  # i.v, b.i.d, U.S, Ph.D, J.-P
_STARTERS = _words(
    """A After Although An And Among As At Because Before Both But By Compared Conclusion Conclusions Data
    Despite During Each Finally For From Further Furthermore Having Here However If In It Its Men Methods
    Moreover Most No Of On One Only Other Our Overall Participants Patients Results Several Since Six Some
    Such That The Their Then There Therefore These They This Those Three Thus To Treatment Two Under Until
    We When Whereas Whether Which While With Women"""
)
# "vitamin D.", "hepatitis B.", "group A.": after these words a single capital is not an initial.
_LETTERED = _words(
    """and arm arms class cohort factor grade group groups hepatitis influenza or panel phase protein stage
    type vitamin vitamins"""
)
_LONE_STOP = regex(r"[^\w]*")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of ``text`` in order, with single spaces; none is empty.

    A full stop does not end a sentence inside a number (``p < 0.05``), after an abbreviation (``e.g.``,
    ``vs.``, ``Fig.``, ``et al.``), an initial or a genus (``E. coli``), or after the number of a list item.
    Citation marks after the full stop (``… was effective. [1]``) stay with the sentence before it. Blank
    lines, list items and line breaks before a capital are borders; other line breaks are spaces.
    """
    sentences: list[str] = []
    for block in _BLOCK.split(text) if "\n" in text else (text,):
        sentences.extend(_split_block(" ".join(block.split())))
    return sentences


def _split_block(block: str) -> list[str]:
    sentences, start = [], 0
    for stop in _STOP.finditer(block):
        if _is_border(block, start, stop):
            sentences.append(block[start : stop.end("close")])
            start = stop.end()
    if start < len(block):
        sentences.append(block[start:])
    return [s for s in sentences if not _LONE_STOP.fullmatch(s)]


def _is_border(block: str, start: int, stop: re.Match[str]) -> bool:
    """Return whether the sentence that begins at ``start`` ends at ``stop``."""
    if stop["mark"][0] in _FULL:
        return True
    if not stop["gap"] and stop.end() < len(block) and not _begins_without_space(block, start, stop):
        return False
    following = block[stop.end() : stop.end() + 40].split(" ", 1)[0].lstrip(_OPENING)
    cited = "[" in stop["close"]
    before = _WORD.search(block, max(start, stop.start() - 40), stop.start())
    word = before.group() if before else ""
    preceding = block[max(start, stop.start() - 40) : stop.start() - len(word)]
    if stop["mark"] != "." or stop["close"]:
        if cited and stop["mark"] == "." and not _closes(word, following, preceding):
            return False  # "Smith et al. [1] found …"
        return _can_begin(following) or stop["mark"][0] in "!?" or cited
    if before is not None and before.start() == start and word.isdigit() and len(word) <= 3:
        return False  # "1. First item"
    if word == "0" and following[:1].isdigit():
        return False  # "p < 0. 05", as printed in some abstracts
    if not _closes(word, following, preceding):
        return False
    return _can_begin(following) or (len(word) > 2 and following[:1].islower())


def _begins_without_space(block: str, start: int, stop: re.Match[str]) -> bool:
    """Return whether a new sentence follows a stop directly, and no part of a name or an address."""
    after = _NEW_WORD.match(block, stop.end())
    before = block[max(start, stop.start() - 60) : stop.start()].rpartition(" ")[2]
    if after is None or _ADDRESS.search(before):
        return False
    return _PLAIN_END.search(before) is not None or after[0].strip() in _STARTERS  # not "NF-κB.GFP.Luc"


def _closes(word: str, following: str, preceding: str) -> bool:
    """Return whether a full stop after ``word`` can end a sentence, not only mark an abbreviation."""
    if len(word) > 1 and word.isalpha() and word.isupper():
        return True  # ED, CA and NO are written without a full stop
    key = word.lower()
    if key in _NEVER_LAST or word in _TITLES:
        return False
    starts_small = following[:1].islower() and not _can_begin(following)
    last_before = preceding.rstrip().rpartition(" ")[2].lower()
    if key in _BEFORE_SMALL and (
        starts_small or (following[:1].isdigit() and not last_before[-1:].isdigit())
    ):
        return False
    lone_capital = len(word) == 1 and word.isupper()
    if key in _BEFORE_NUMBER and not lone_capital:
        return (
            not following[:1].isdigit() and following[:1] != "#" and (len(key) > 1 or _can_begin(following))
        )
    if lone_capital and last_before in _LETTERED:
        return True
    if not lone_capital and len(part := _HYPHENS.split(word)[-1]) == 1 and part.isupper():
        return not starts_small and not _DOTTED.fullmatch(word)  # "non-S. aureus", "J.-P. Roe"
    if lone_capital or key in _MAYBE_LAST or word in _JOURNALS or _DOTTED.fullmatch(word):
        return following.rstrip(",;:") in _STARTERS
    return True


def _can_begin(word: str) -> bool:
    """Return whether a word begins with a capital or digit, or is a name such as mRNA, p53 or β-catenin."""
    first = word[:1]
    if first.isupper() or first.isdigit() or (first.isalpha() and not first.isascii()):
        return True
    return first.islower() and any(c.isupper() or c.isdigit() for c in word[1:])
