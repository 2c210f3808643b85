"""Replies that say that the passages shown do not hold the answer, or that the speaker does not know it.

"There is insufficient evidence that zinc works" and "the trials provide no evidence of benefit" are findings
of medicine. An abstention speaks about the *passages*, the question or the speaker: "the passages do not
address zinc", "this cannot be answered", "I don't know". The patterns read English that has gone through
``fold`` and take time linear in the text.
"""

from __future__ import annotations

import re

from evalkit.reading.patterns import regex

_NOT = (
    r"(?:(?:do|does|did|could|can|would|is|are|was|were|has|have)(?:n't| not)|cannot|never|fails? to"
    r"|failed to)"
    r"(?:,\s\w+,)?"
)
_CANNOT = (
    r"(?:cannot|can't|can not|could not|couldn't|(?:am|'m|are|was|were) (?:not able|unable) to|unable to"
    r"|not able to|not possible to|impossible to|isn't possible to)"
)
_SHOWN = r"(?:provided|given|supplied|retrieved|available|shown|listed|above)"
_PASSAGES = (  # "the sources", but not "sources of iron" or "in the context of"
    r"(?:(?:(?:passages?|abstracts?|documents?|excerpts?|snippets?|search results?)"
    rf"|(?:the|this|these|those|your|my|any|all|{_SHOWN})\s(?:contexts?|sources?|texts?|references?"
    rf"|materials?)"
    rf"|{_SHOWN}\s(?:\w+\s)?(?:literature|articles?|papers?|studies|information|evidence|data|results?)"
    rf"|(?:literature|articles?|papers?|studies|information|evidence|data|results?)\s(?:that (?:was"
    rf"|were) )?{_SHOWN})"
    r"\b(?!\sof\b))"
)
# Words between "the passages" and "do not": no verb that reports what the passages found.
_GAP = (
    r"(?:,?\s(?!that\b|which\b|show(?!n\b)|report|indicat|suggest|stat(?:e|ing)|find|found|conclu"
    r"|demonstrat|confirm"
    r"|noted?\b)[\w()\[\]-]+,?){0,7}?"
)
_HOLD = (
    r"(?:answer|address|contain|provide|include|mention|report|discuss|cover|hold|give|describe|specify|state"
    r"|say|offer|present|tell|explain|clarify|indicate|reveal|focus on|deal with|examine|investigate|bear on"
    r"|allow|permit|support an answer|(?:speak|refer|relate|pertain|seem|appear) to|talk about|directly"
    r"|explicitly|have (?:any|enough|the))"
)
_HELD = (
    r"(?:answered|addressed|mentioned|discussed|covered|described|reported|included|found|contained|available"
    r"|provided|specified|stated|given|present|referenced|indicated|explained|named|identified|clear|part)"
)
_KNOWLEDGE = (
    r"(?:information|infos?|details?|data|mention|answers?|discussions?|references?|content|statements?"
    r"|indication|evidence (?:about|on|regarding|concerning|to (?:answer|determine)|relevant)|relevant \w+)"
)
_TELL = (
    r"(?:answer|determine|say|tell|conclude|infer|establish|ascertain|know|judge|decide|derive"
    r"|(?:give|provide) (?:an|any|a definite|a clear) answer"
    r"|be (?:answered|determined|inferred|concluded|established|ascertained|derived|found|judged|told"
    r"|decided))"
)
_LITTLE = (
    r"(?:no|not enough|insufficient|not sufficient|inadequate|too little|n't any|not any|nothing|lack of)"
)
_IN = rf"\b(?:in|from|within|by|across|among|through)\s(?:\w+\s){{0,5}}?{_PASSAGES}"
_WITHIN = rf"(?:in|within|among)\s(?:\w+\s){{0,5}}?{_PASSAGES}"

# The passages are the subject: "the passages do not mention zinc", "lack information", "say nothing about".
_OF_THE_PASSAGES = (
    rf"\b{_PASSAGES}{_GAP}\s{_NOT}\s(?:\w+\s){{0,3}}?{_HOLD}\b",
    rf"\b{_PASSAGES}[^.;]{{0,90}}\b(?:they|it|neither|none)(?: \w+)?\s{_NOT}\s(?:\w+\s){{0,2}}?{_HOLD}\b",
    rf"\b{_PASSAGES} leaves? (?:this|the|that|it)\b[^.;]{{0,30}}\b(?:open|unanswered|unresolved)\b",
    rf"\b{_PASSAGES}{_GAP}\s(?:lacks?|(?:\w+\s)?{_LITTLE})\s(?:\w+\s){{0,2}}?{_KNOWLEDGE}",
    rf"\b{_PASSAGES}{_GAP}\s(?:makes? no (?:mention|reference)|(?:say|contain|offer|mention|have"
    rf"|hold)s? nothing"
    r"|ha(?:s|ve) nothing to do|(?:is|are)(?:n't| not) (?:relevant|related|about|sufficient|enough|helpful)"
    r"|(?:is|are) (?:silent|unrelated|irrelevant|insufficient(?! to (?:recommend|support|show|conclude)))"
    r"|(?:do|does)(?:n't| not) (?:\w+\s)?(?:help"
    r"|suffice"
    r"|match|relate|apply))\b",
)
_PATTERNS = (
    rf"\b(?:none|neither|not one|no one) of (?:(?!(?:in|from|by|of|described|reported|who|that)\b)"
    rf"\w+\s){{1,4}}?{_PASSAGES}",
    rf"\b(?:none|neither) of (?:the|these|those)\s(?:(?:information|data|content)\s{_WITHIN}|{_PASSAGES})",
    rf"\b(?:no|neither)\s(?:\w+\s)?{_PASSAGES}{_GAP}\s(?:\w+\s)?(?:{_HOLD}|{_HELD}|relevant|(?:is"
    rf"|are) about)",
    rf"(?:\bnot|n't) (?:something|a (?:topic|question|subject)) (?:that )?(?:\w+\s)?{_PASSAGES} (?:{_HOLD})",
    rf"\b{_PASSAGES}[^.;,]{{0,20}}, (?:it|this)(?:'s| is| remains)"
    rf" (?:not (?:clear|known|stated)|un(?:clear|known|certain))\b",
    # "There is no information in the passages", "it is not mentioned in the passages"
    rf"(?:\b|(?=n't)){_LITTLE}\s(?:\w+\s){{0,2}}?{_KNOWLEDGE}\b[^.;]{{0,60}}{_IN}",
    rf"\b{_LITTLE}\s(?:\w+\s){{0,2}}?evidence {_WITHIN} to (?:answer|determine|say|judge|decide|tell)\b",
    rf"\bno (?:\w+\s)?evidence {_WITHIN}(?!\s(?:that|for)\b)",
    rf"\bnothing\s(?:\w+\s){{0,4}}?{_IN}",
    rf"(?:\b(?:not|nowhere|never|neither|unclear)|n't)\s(?:\w+\s){{0,3}}?(?:{_HELD}\b[^.;]{{0,30}}?)?{_IN}",
    rf"\b(?:unclear|nowhere|absent|missing) {_IN}",
    rf"\b(?:not|never) (?:appear|occur)\b[^.;]{{0,20}}?{_IN}",
    rf"\b(?:outside|beyond)\s(?:\w+\s){{0,4}}?{_PASSAGES}",
    # "This cannot be answered from the passages", "I couldn't find it in the abstracts"
    rf"\b{_CANNOT}\s(?:\w+\s){{0,2}}?{_TELL}\b[^.;]{{0,90}}\b{_PASSAGES}",
    rf"\b{_PASSAGES}[^.;]{{0,80}}\b{_CANNOT}\s(?:\w+\s){{0,2}}?{_TELL}\b",
    rf"\bi(?:'ve)? (?:{_CANNOT}|{_NOT})\s(?:\w+\s)?(?:find|found|locate|identify|see"
    rf"|seen)\b[^.;]{{0,80}}\b{_PASSAGES}",
    rf"\bi(?:'ve)? (?:have )?(?:found|find|see) (?:no|nothing)\b[^.;]{{0,80}}\b{_PASSAGES}",
    rf"\bi(?: am|'m)? {_CANNOT}\s(?:\w+\s)?(?:help|assist|provide|give|offer)\b[^.;]{{0,80}}\b{_PASSAGES}",
    # Without the passages: "I cannot answer this", "there is not enough information", "unanswerable"
    rf"\b(?:i|we)(?: am|'m| are)? {_CANNOT}\s(?:\w+\s){{0,2}}?(?:answer|determine|say|tell|find (?:an|the"
    rf"|any) answer)\b",
    r"\bi (?:(?:honestly |simply |really )?(?:do not|don't)|did not|didn't) know\b",
    r"\bi have no (?:information|data|knowledge)\b|\bi (?:do not|don't) have access to\b",
    r"\b(?:i|we) (?:do not|don't|cannot|can't) (?:have|find|see) (?:enough|sufficient|any|the"
    r"|adequate)\s(?:\w+\s)?"
    r"(?:information|data|context|details?|answer)\b",
    rf"\b(?:question|this|that|answer)\s(?:{_CANNOT}|{_NOT})\s(?:be\s)?(?:\w+\s)?"
    r"(?:answered|determined|answerable|found|given)\b",
    r"\b(?:is|it's) (?:not possible|impossible) to (?:\w+\s)?(?:answer|say|tell)\b(?!\sthat\b)",
    r"\b(?:insufficient|not enough|no) (?:information|context)\b(?:\s(?:is|was|has been))?\s?"
    r"(?:to (?:\w+\s)?(?:answer|determine|say|tell|conclude)|(?:provided|given|available)\b|$|\.)",
    r"\b(?:question|this) (?:is|remains) (?:unanswerable|not answerable|unanswered)\b",
    r"\bno (?:such|relevant) (?:trials?|stud(?:y|ies)|information)\b",
    r"\bno answer (?:can be|could be|is|was) (?:given|found|provided|available|possible|derived"
    r"|determined)\b",
    r"^\W*(?:unknown|unanswerable|not (?:stated|mentioned|specified|available|provided|given|known"
    r"|answerable)"
    r"|(?:can(?:not|'t) (?:answer|determine|tell|say))|no answer(?: found)?|n/a)\W*$",
)
_SAYS_NOTHING = tuple(regex(pattern, re.IGNORECASE) for pattern in _OF_THE_PASSAGES)
_ABSTAINS = tuple(regex(pattern, re.IGNORECASE) for pattern in _PATTERNS)
# "According to the passages, zinc does not help": the subject of what follows is another.
_INTRODUCTION = regex(
    rf"^\W*(?:(?:based|going) (?:only |solely )?(?:up)?on|according to|from|in|within|per|given|considering"
    rf"|as (?:\w+ )?(?:in|by))\s[^,;]{{0,60}}?{_PASSAGES}[^,;]{{0,25}},\s(?!(?:there|they|it|no|i|we)\b)",
    re.IGNORECASE,
)
# "…, but zinc shortens colds [1]" is an answer; "…, but they discuss asthma [1]" is none.
_CITED = r"\[\s?\d"
_GOES_ON = regex(
    rf"\b(?:but|however|yet|though|nevertheless)\b"
    rf"(?!,?\s(?:they|it|these|this|only|instead|do|not|the\s(?:\w+\s)?{_PASSAGES})\b)[^;]{{10,}}?{_CITED}",
    re.IGNORECASE,
)
# "Zinc shortens colds, but the passages do not report on deaths [1]" is an answer, too.
_ANSWERS_FIRST = regex(
    rf"(?!\W*(?:i|we|sorry|unfortunately|thank)\b)(?!.*\b{_PASSAGES}.*,? (?:but|although|though|while"
    rf"|whereas)\b)"
    rf"[^,;]{{12,}}?,? (?:but|although|though|while|whereas)\b.*{_CITED}",
    re.IGNORECASE | re.DOTALL,
)
_CONCEDES = regex(
    rf"^\W*(?:while|although|(?:even )?though|whereas)\b[^,]*,(?P<rest>[^;]*?{_CITED}.*)", re.I | re.S
)


def abstains(sentence: str) -> bool:
    """Return whether a sentence says that the passages lack the answer, or that the speaker does not know it.

    A sentence that goes on with a cited answer ("…, but zinc shortens colds [1]") does not abstain, nor does
    a condition ("If no passage answers …").
    """
    if sentence.lower().startswith("if ") or _GOES_ON.search(sentence) or _ANSWERS_FIRST.match(sentence):
        return False
    conceded = _CONCEDES.match(sentence)
    told = conceded["rest"] if conceded else sentence
    rest = _INTRODUCTION.sub("", told)
    return any(p.search(rest) for p in _SAYS_NOTHING) or any(p.search(told) for p in _ABSTAINS)
