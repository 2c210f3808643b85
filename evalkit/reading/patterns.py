"""Regular expressions that are compiled when they are first used: a run needs few of the many there are."""

from __future__ import annotations

import re
from typing import Any, cast


def regex(source: str, flags: int = 0) -> re.Pattern[str]:
    """Return what ``re.compile`` returns, compiled at the first use. Then it raises ``re.error``."""
    return cast("re.Pattern[str]", _Pattern(source, flags))


class _Pattern:
    def __init__(self, source: str, flags: int) -> None:
        self.pattern, self._flags = source, flags

    def __getattr__(self, name: str) -> Any:
        """Compile, and keep the methods as attributes of this object: later uses do not come here."""
        compiled = re.compile(self.pattern, self._flags)
        methods = ("search", "match", "fullmatch", "finditer", "findall", "split", "sub", "subn")
        self.__dict__.update({method: getattr(compiled, method) for method in methods})
        return getattr(compiled, name)
