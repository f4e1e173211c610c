"""How many tokens a prompt probably has, before the service counts them.

The service documents one estimate, "for estimation only": Han characters x 1 + words x 1.3. Limits are asked
for this much before a call and settled with the reported usage afterwards; plans and budgets start from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from qfbatch.records import Usage, UsageSource

FIRST_EXPECTED_COMPLETION = 128  # tokens of an answer, until answers have been seen
SMOOTHING = 0.05  # weight of the newest answer in what is expected of the next
CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")  # body fields that bound an answer

# The blocks of the Han script: radicals, the iteration mark and zero, Hangzhou numerals, the unified
# ideographs with their extensions, compatibility ideographs.
_HAN = (
    r"\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufad9"
    r"\U00020000-\U000323af"
)
_HAN_RUN = re.compile(f"[{_HAN}]+")


def estimate(text: str) -> int:
    """Estimated tokens of a text: Han characters x 1 + words x 1.3, rounded up.

    A word is a run of characters that are neither white space nor Han, so a Chinese sentence's punctuation
    counts as words and "Qwen模型v2" as two words and two Han characters.
    """
    # In whole numbers: 1.3 * 10 in floats would round up to 14.
    if text.isascii():  # has no Han characters
        return -(-13 * len(text.split()) // 10)
    between = _HAN_RUN.split(text)
    return len(text) - sum(map(len, between)) - (-13 * len(" ".join(between).split()) // 10)


def estimates(texts: Sequence[str]) -> list[int]:
    """`estimate` of each of these texts, sooner than one by one."""
    if all(map(str.isascii, texts)):
        return [-(-13 * words // 10) for words in map(len, map(str.split, texts))]
    return list(map(estimate, texts))


def answer_cap(parameters: Mapping[str, Any]) -> tuple[str, int] | None:
    """The body field that bounds an answer, and the most tokens it allows; None where nothing does."""
    for name in CAPS:
        value = parameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return name, value
    return None


def estimate_usage(prompt: str, result: str) -> Usage:
    """Estimated tokens of an answer whose service reported none, marked as estimated."""
    prompt_tokens, completion_tokens = estimate(prompt), estimate(result)
    return Usage(prompt_tokens, completion_tokens, prompt_tokens + completion_tokens, UsageSource.ESTIMATED)
