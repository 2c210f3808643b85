"""Calls of tools that stand as text in a reply, because the server does not read the model's own form."""

from __future__ import annotations

import re

from evalkit.reading.patterns import regex

# Hermes, Qwen, GLM; Mistral; Llama; Qwen coder; DeepSeek; Kimi; Granite; Cohere; MiniMax; Gemma; gpt-oss.
_MARKS = regex(
    r"<tool_calls?>|\[TOOL_CALLS\]|<\|python_tag\|>|<function=\w+>|<｜tool▁calls?▁begin｜>|<｜DSML｜"
    r"|<\|tool_calls?(?:_section)?(?:_begin)?\|>|<\|START_ACTION\|>|<minimax:tool_call>|<invoke name="
    r"|```tool_code|<start_function_call>|to=functions\.\w+|functools\["
)
_WHOLE = regex(
    r"\s*(?:```(?:json)?\s*)?\[?\s*\{\s*\"(?:name|function|type)\"\s*:\s*\"[^\"]+\"\s*,\s*"
    r"\"(?:arguments|parameters|name)\"\s*:",
    re.DOTALL,
)


def written_call(text: str) -> str:
    """Return the mark of a call that stands in a reply's text; empty if there is none."""
    if found := _MARKS.search(text):
        return found[0]
    return "a JSON object with a function's name" if _WHOLE.match(text) else ""
