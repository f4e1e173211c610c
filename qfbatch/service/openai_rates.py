"""The rate headers of the OpenAI protocol: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`."""

from __future__ import annotations

import re

from qfbatch.service.dialect import Header, RateSignals

MAX_RESET_S = 7 * 86400.0  # beyond it, a number is a date or nonsense

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = re.compile("".join(f"(?:{_NUMBER}{unit})?" for unit in ("d", "h", "m(?!s)", "s", "ms")))
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def rate_signals(header: Header) -> RateSignals | None:
    """What the headers say; None where they say nothing.

    `reset_s` is that of the window of which nothing is left; where something is left of each, the longest.
    """
    limits = [_number(header(f"x-ratelimit-limit-{what}")) for what in _WHAT]
    remaining = [_number(header(f"x-ratelimit-remaining-{what}")) for what in _WHAT]
    if all(value is None for value in (*limits, *remaining)):
        return None
    resets = [_seconds(header(f"x-ratelimit-reset-{what}")) for what in _WHAT]
    known = [(left, reset) for left, reset in zip(remaining, resets, strict=True) if reset is not None]
    used_up = [reset for left, reset in known if left == 0]
    reset_s = max(used_up or [reset for _, reset in known], default=None)
    return RateSignals(limits[0], limits[1], remaining[0], remaining[1], reset_s)


_WHAT = ("requests", "tokens")


def _number(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _seconds(value: str | None) -> float | None:
    """Seconds of `12.5`, `20ms`, `6m0s` or `1h2m3.5s`; None for dates and nonsense."""
    seconds = _number(value)
    if seconds is None and value and (parts := _DURATION.fullmatch(value.strip())):
        given = [_number(part) for part in parts.groups()]
        seconds = sum(part * unit for part, unit in zip(given, _UNITS_S, strict=True) if part is not None)
    return seconds if seconds is not None and seconds <= MAX_RESET_S else None
