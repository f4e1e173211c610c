"""How a number, a duration, an amount or a foreign text reads in a report: decided once, for every format."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from qfbatch.reporting.figures import Value
from qfbatch.wording import count, things

MISSING = "-"
LONGEST_TEXT = 200  # characters of a foreign text in a table; JSON has it whole

_SECONDS_PER_MINUTE = 60
_SECONDS_PER_HOUR = 3600
_INVISIBLE = {
    "Cc",
    "Cf",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
}  # Unicode categories that steer a terminal or show nothing


def share(part: int, whole: int) -> str:
    """A part in per cent: `93.1 %`; never rounded to all or nothing where it is neither."""
    if not whole:
        return MISSING
    if 0 < part < whole:
        percent = 100 * part / whole
        return "<0.1 %" if percent < 0.1 else ">99.9 %" if percent > 99.9 else f"{percent:.1f} %"  # noqa: PLR2004 - the bounds are the texts beside them
    return f"{100 * part / whole:.0f} %"


def count_and_share(part: int, whole: int) -> str:
    """`930 (93.0 %)`; the bare number where it is nothing."""
    return f"{count(part)} ({share(part, whole)})" if part else count(part)


def signed_share(value: float) -> str:
    """A change as a share of what was: `+12.3 %`, `-0.4 %`, `+1,200 %`; never rounded to none."""
    percent = 100 * value
    if abs(percent) < 0.05:  # noqa: PLR2004 - what would read as 0.0
        return "+<0.1 %" if percent > 0 else "-<0.1 %"
    return f"{percent:+,.1f} %" if abs(percent) < 1000 else f"{percent:+,.0f} %"  # noqa: PLR2004 - no tenths


def seconds(value: float | None) -> str:
    """A latency: `0.123 s`, `12.3 s`, `1,234 s`."""
    if value is None:
        return MISSING
    for bound, digits in ((9.9995, 3), (999.95, 1)):
        if value < bound:
            return f"{value:.{digits}f} s"
    return f"{value:,.0f} s"


def duration(value: float) -> str:
    """A run's length: `12.3 s`, `4 min 05 s`, `1 h 02 min`."""
    whole = round(value)
    if whole < _SECONDS_PER_MINUTE:
        return seconds(value)
    if whole < _SECONDS_PER_HOUR:
        return f"{whole // _SECONDS_PER_MINUTE} min {whole % _SECONDS_PER_MINUTE:02d} s"
    hours, rest = divmod(round(value / _SECONDS_PER_MINUTE), _SECONDS_PER_MINUTE)
    return f"{hours:,} h {rest:02d} min"


def rate(value: float | None) -> str:
    """Things per second: `0.52/s`, `12.3/s`, `1,234/s`."""
    if value is None:
        return MISSING
    for bound, digits in ((9.995, 2), (999.95, 1)):
        if value < bound:
            return f"{value:.{digits}f}/s"
    return f"{value:,.0f}/s"


def amount(value: float) -> str:
    """Money without its currency: `1,234.56`, `0.1234`, `0.000012`."""
    for bound, digits in ((0.01, 6), (100, 4)):
        if abs(value) < bound:
            return f"{value:.{digits}f}"
    return f"{value:,.2f}"


def moment(value: datetime | None) -> str:
    """A point in time, UTC, to the minute: `2026-11-03 14:05Z`; programs get it to the microsecond."""
    return MISSING if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def group_value(value: Value) -> str:
    """The value of a `by` column; null and an empty text stay apart."""
    if value is None:
        return "(null)"
    if isinstance(value, bool):
        return str(value).lower()
    return one_line(str(value)) or "(empty)"


def cells(text: str) -> int:
    """Places a text takes on a terminal: two for a wide one (Chinese, say), none for a combining mark."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in {"W", "F"} else 1
        for c in text
    )


def one_line(text: str | None, longest: int = LONGEST_TEXT) -> str:
    """A text from outside on one line: white space folded, what steers terminals removed, the rest cut off.

    Args:
        text: as the service or the input had it; None gives `MISSING`.
        longest: characters to keep.
    """
    if text is None:
        return MISSING
    folded = " ".join(text.split())
    visible = "".join(c for c in folded if unicodedata.category(c) not in _INVISIBLE)
    return visible if len(visible) <= longest else visible[: longest - 1] + "…"


__all__ = [
    "LONGEST_TEXT",
    "MISSING",
    "amount",
    "cells",
    "count",
    "count_and_share",
    "duration",
    "group_value",
    "moment",
    "one_line",
    "rate",
    "seconds",
    "share",
    "signed_share",
    "things",
]
