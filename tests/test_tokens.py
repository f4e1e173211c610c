"""The token estimate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.tokens import estimate, estimates


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" \n\t", 0),
        ("hello", 2),
        ("one two three", 4),
        ("a b c d e f g h i j", 13),
        ("你好", 2),
        ("你好，世界", 6),  # noqa: RUF001 - Chinese punctuation is meant
        ("模型v2 ok", 5),
        ("naïve café", 3),
        ("\u3000你\u3000", 1),
        ("𠀀𠀁", 2),
    ],
)
def test_the_documented_estimate(text: str, tokens: int) -> None:
    """Han characters count 1, words of anything else 1.3, rounded up."""
    assert estimate(text) == tokens


@given(st.lists(st.sampled_from(["你", "好", "a", "é", ",", " ", "\n", "龘"])).map("".join))
def test_equals_counting_by_hand(text: str) -> None:
    """The fast ways through give what counting character by character gives."""
    han = [character for character in text if character in "你好龘"]
    words = "".join(" " if character in "你好龘" else character for character in text).split()
    assert estimate(text) == math.ceil((10 * len(han) + 13 * len(words)) / 10)


@given(st.lists(st.text("你a é,\n")))
def test_many_at_once(texts: list[str]) -> None:
    """Many texts have the estimates that each has alone."""
    assert estimates(texts) == [estimate(text) for text in texts]
