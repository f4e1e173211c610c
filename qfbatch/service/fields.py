"""Fields of answers, each taken where it has the documented type and None otherwise.

An answer that was paid for is not thrown away over a missing or misspelled flag.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import Meta, Struct

from qfbatch.records import Usage, UsageSource

MAX_TOKENS = 2**40  # beyond any model: a larger count is not a count
MAX_CREATED = 253402300799  # the last second of the year 9999, where calendars of readers end
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


class RegularUsage(Struct, frozen=True, gc=False):
    """Usage in which everything has its documented type, for decoders of answers that do."""

    prompt_tokens: Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
    completion_tokens: Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
    total_tokens: Annotated[int, Meta(ge=0, le=MAX_TOKENS)]


_INTEGER = re.compile(r"-?[0-9]{1,19}")


def usage_of(usage: Any) -> Usage | None:
    """Usage of an answer that came as a whole: as reported.

    One missing count follows from the other two; with two missing, the usage is marked as estimated.
    """
    if not isinstance(usage, dict):
        return None
    prompt, completion, total = (count_of(usage.get(key)) for key in COUNTS)
    missing = [prompt, completion, total].count(None)
    if missing == len(COUNTS):
        return None
    if prompt is None:
        prompt = 0 if total is None or completion is None else max(0, total - completion)
    if completion is None:
        completion = 0 if total is None else max(0, total - prompt)
    if total is None:
        total = prompt + completion
    source = UsageSource.REPORTED if missing < 2 else UsageSource.ESTIMATED  # noqa: PLR2004 - of three
    return Usage(prompt, completion, total, source)


def count_of(value: Any) -> int | None:
    """A number of tokens; None for what is none."""
    count = integer(value)
    return count if count is not None and 0 <= count <= MAX_TOKENS else None


def integer(value: Any) -> int | None:
    """An integer, also one written as text; None for anything else, booleans included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return None


def created_of(value: Any) -> int | None:
    """Seconds since the epoch; None for what is none."""
    seconds = integer(value)
    return seconds if seconds is not None and 0 <= seconds <= MAX_CREATED else None


def int32(value: Any) -> int | None:
    """An integer that fits the results' int32 columns; None for anything else."""
    number = integer(value)
    return number if number is not None and -(2**31) <= number < 2**31 else None


def flag(value: Any) -> bool | None:
    """The documented samples write flags as 1 and 0, the tables as booleans."""
    if isinstance(value, bool):
        return value
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


def text(value: Any) -> str | None:
    """A text; None for anything else."""
    return value if isinstance(value, str) else None
