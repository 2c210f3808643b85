"""Half an emoji in a text: joined with its other half, or replaced, and nothing else changes."""

from typing import Any

import msgspec
import pytest

from evalkit.reading.surrogates import decoded_line, whole, whole_values


def test_halves_are_joined_or_replaced() -> None:
    assert whole("yes \ud83d") == "yes �"
    assert whole("\ud83d\ude00 \ude00 é") == "😀 � é"
    text = "café 😀"
    assert whole(text) is text


def test_values_inside_lists_and_dictionaries() -> None:
    assert whole_values({"\ud83d": ["a\ude00", 3, None]}) == {"�": ["a�", 3, None]}


def test_a_line_of_json_with_half_an_emoji_is_read() -> None:
    assert decoded_line(b'{"a": ["Question \\ud83d?", 12345678901234567890123]}', dict[str, Any]) == {
        "a": ["Question �?", 12345678901234567890123]
    }
    assert decoded_line('{"a": "é"}'.encode(), dict[str, str]) == {"a": "é"}


@pytest.mark.parametrize("line", [b"{oops \\ud83d", b'{"a": NaN, "b": "\\ud83d"}', b'{"a": "\\xff"}', b""])
def test_other_broken_lines_stay_broken(line: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decoded_line(line, dict[str, Any])
    with pytest.raises(msgspec.ValidationError):
        decoded_line(b'{"a": "\\ud83d"}', dict[str, int])
