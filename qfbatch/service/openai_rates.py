"""The rate headers of the OpenAI protocol: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`.

What `reset` says differs. OpenAI documents the time until the limit is in its initial state again, as a
duration with units (`1s`, `6m0s`, `20ms`): a bucket that fills evenly, so that 59 of 60 calls left read `1s`;
Groq likewise. Others write seconds without a unit (Azure), the moment in seconds or milliseconds since the
epoch (LiteLLM, OpenRouter), or as an ISO date, and mean the end of a window. So only a duration with units is
taken for a bucket; `limits.gate` believes it until a refusal proves otherwise. Moments are read against the
answer's own `Date`, for the service's clock need not be ours; without one they say nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from qfbatch.service.dialect import Header, RateSignals

MAX_RESET_S = 7 * 86400.0  # beyond it, a number is a moment or nonsense
EPOCH_S = (1e9, 1e11)  # what numbers are moments in seconds since the epoch: 2001 to 5138
EPOCH_MS = (1e12, 1e14)

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
    resets = [_reset(header, header(f"x-ratelimit-reset-{what}")) for what in _WHAT]
    known = [(left, reset) for left, reset in zip(remaining, resets, strict=True) if reset is not None]
    used_up = [reset for left, reset in known if left == 0] or [reset for _, reset in known]
    if not used_up:
        return RateSignals(limits[0], limits[1], remaining[0], remaining[1])
    reset_s = max(reset_s for reset_s, _ in used_up)
    refills = all(refills for _, refills in used_up)
    return RateSignals(limits[0], limits[1], remaining[0], remaining[1], reset_s, refills)


_WHAT = ("requests", "tokens")


def _number(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _reset(header: Header, value: str | None) -> tuple[float, bool] | None:
    """Seconds until the limit is whole, and whether it fills evenly until then; None if that is not said."""
    if value is None:
        return None
    number, parts = _number(value), _DURATION.fullmatch(value.strip())
    if number is not None and number <= MAX_RESET_S:
        found = (number, False)
    elif number is None and parts and value.strip():
        given = [_number(part) for part in parts.groups()]
        found = (
            sum(part * unit for part, unit in zip(given, _UNITS_S, strict=True) if part is not None),
            True,
        )
    elif (moment := _moment(value, number)) is not None and (date := _date(header)) is not None:
        found = (max(0.0, moment - date), False)
    else:
        return None
    return found if found[0] <= MAX_RESET_S else None


def _moment(value: str, number: float | None) -> float | None:
    """The moment that a large number or an ISO date names, in seconds since the epoch."""
    if number is not None:
        units = ((EPOCH_S, 1.0), (EPOCH_MS, 0.001))
        return next((number * unit_s for (first, last), unit_s in units if first <= number < last), None)
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _date(header: Header) -> float | None:
    """When the answer was made, by the service's clock, in seconds since the epoch."""
    try:
        date = parsedate_to_datetime(header("date") or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # as the parser fails over absurd dates
        return None
