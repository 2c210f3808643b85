"""Half an emoji in a text: joined with its other half, or replaced, and nothing else changes."""

from evalkit.reading.surrogates import whole, whole_values


def test_halves_are_joined_or_replaced() -> None:
    assert whole("yes \ud83d") == "yes �"
    assert whole("\ud83d\ude00 \ude00 é") == "😀 � é"
    text = "café 😀"
    assert whole(text) is text


def test_values_inside_lists_and_dictionaries() -> None:
    assert whole_values({"\ud83d": ["a\ude00", 3, None]}) == {"�": ["a�", 3, None]}
