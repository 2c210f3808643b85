"""Reading whether a reply says that there is no picture to see, instead of an answer."""

from __future__ import annotations

import re

from evalkit.reading.fold import fold

_PICTURE = (
    r"(?:images?|pictures?|photos?|photographs?|figures?|scans?|x-?rays?|radiographs?|slides?|films?|videos?"
    r"|attachments?|visual(?:s| content| input| information)?|files?)"
)
_CANNOT = (
    r"(?:cannot|can ?not|can't|could not|couldn't|do not|don't|did not|didn't|am unable to|'m unable to"
    r"|unable to|am not able to|'m not able to|not able to|no way to)"
)
_SEE = (
    r"(?:see|view|access|open|analy[sz]e|interpret|process|read|examine|evaluate|assess|find|have|receive"
    r"|display|load|look at|identify|detect)"
)
_GIVEN = (
    r"(?:attached|provided|visible|uploaded|shown|included|available|found|given|present|here|displayed"
    r"|loaded|received|supplied|accompanying|sent|in (?:your|this|the) \w+"
    r"|to (?:see|view|analy[sz]e|look at))"
)
_BETWEEN = (  # words that may stand between the verb and the picture: "see any of the attached images"
    r"(?:the|an?|any|your|this|that|these|those|of|or|to|in|and|attached|provided|uploaded|actual|medical"
    r"|such|access|view|see|interpret|analy[sz]e|ability|capability|directly|external|referenced|mentioned)"
)
_UNSEEN = re.compile(
    rf"\b{_CANNOT}\s+(?:\w+\s+){{0,2}}{_SEE}\b(?:\W+{_BETWEEN})*\W+{_PICTURE}\b"
    rf"|\b(?:no|any|without an?|without the)\s+(?:\w+\s+){{0,2}}{_PICTURE}\b(?:\W+\w+){{0,3}}\W+{_GIVEN}\b"
    rf"|\b{_PICTURE}\b(?:\W+\w+){{0,4}}\W+(?:not|never|n't|isn't|wasn't|hasn't|didn't|doesn't)\s+"
    rf"(?:\w+\s+){{0,2}}(?:{_GIVEN}|appear|come through|load|seem to)\b"
    rf"|\b{_PICTURE}\s+(?:is|are|appears?|seems?|looks?)\s+(?:to be\s+)?(?:\w+\s+){{0,2}}"
    r"(?:blank|empty|missing|(?:solid|plain|uniform(?:ly)?) (?:gr[ae]y|black|white))\b"
    rf"|\b(?:upload|attach|provide|share|send|resend)\s+(?:\w+\s+){{0,2}}{_PICTURE}\b"
    r"|^\W*(?:i'm|i am|we are)?\s*sorry\b[^.]{0,30}\bi\s+(?:cannot|can't|am unable|'m unable|am not able)\b",
    re.IGNORECASE,
)


def says_no_picture(text: str) -> bool:
    """Return whether a reply begins by saying that it sees no picture, or by declining to answer.

    The rule is a list of phrases (``I cannot see the image``, ``no image is attached``, ``please upload the
    scan``, ``the picture is blank``, ``I'm sorry, but I can't``), looked for in the first 300 characters.
    "I see no fracture in the image" is an answer.
    """
    return _UNSEEN.search(" ".join(fold(text).split())[:300]) is not None
