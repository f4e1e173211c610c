"""How long the answers that are left will be, from answers seen, where rows allow different lengths. Pure.

A row may bound its answer itself (`max_tokens` in its own parameters), so the rows that are left need not be
like those that were answered. For each cap among them the answers that tell most are taken:

- those under the same cap, as they were;
- else those that could become longer: under the lower cap each would have ended there at the latest;
- else those under the highest cap seen: as large a part of the cap will be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

LATENCIES = 400  # kept of all caps together, where there are several: a forecast draws from them


class Seen(Struct, frozen=True, gc=False):
    """One answer: what it was allowed, what it took.

    Attributes:
        cap: the most tokens that it could have; None where the request did not say.
        tokens: that it had.
        latency_s: of the call.
    """

    cap: int | None
    tokens: int
    latency_s: float


class Length(Struct, frozen=True):
    """What is expected of an answer.

    Attributes:
        tokens: the mean.
        latencies_s: how long calls take, each as likely as another.
    """

    tokens: float
    latencies_s: tuple[float, ...]


def expected_length(seen: Sequence[Seen], left: Mapping[int | None, float]) -> Length:
    """What the answers that are left will be like.

    Args:
        seen: answers, at least one.
        left: how many rows are left under each cap; None for those without one. Where none are left at all,
            the answers seen are told as they were.
    """
    rows = sum(left.values())
    if not rows:
        return _mean(seen)
    expected = {cap: _mean(_like(seen, cap)) for cap in left}
    if len(expected) == 1:
        return next(iter(expected.values()))
    tokens = sum(expected[cap].tokens * some for cap, some in left.items()) / rows
    latencies_s: list[float] = []
    for cap, some in left.items():
        latencies_s += _some(expected[cap].latencies_s, max(1, round(LATENCIES * some / rows)))
    return Length(tokens, tuple(latencies_s))


def _like(seen: Sequence[Seen], cap: int | None) -> list[Seen]:
    """Answers as they would be under this cap."""
    same = [answer for answer in seen if answer.cap == cap]
    if same:
        return same
    if cap is None:
        return list(seen)
    longer = [answer for answer in seen if answer.cap is None or answer.cap > cap]
    if longer:
        return [_ended(answer, min(answer.tokens, cap)) for answer in longer]
    highest = max(answer.cap or 0 for answer in seen)
    return [_ended(answer, round(answer.tokens * cap / highest)) for answer in seen if answer.cap == highest]


def _ended(answer: Seen, tokens: int) -> Seen:
    """The same answer with so many tokens; a call takes as long as its tokens are many."""
    if tokens == answer.tokens:
        return answer
    return Seen(answer.cap, tokens, answer.latency_s * tokens / answer.tokens)


def _mean(answers: Sequence[Seen]) -> Length:
    tokens = sum(answer.tokens for answer in answers) / len(answers)
    return Length(tokens, tuple(answer.latency_s for answer in answers))


def _some(values: Sequence[float], number: int) -> list[float]:
    """So many of the values, evenly taken from the shortest to the longest."""
    ordered = sorted(values)
    return [ordered[(2 * place + 1) * len(ordered) // (2 * number)] for place in range(number)]


__all__ = ["Length", "Seen", "expected_length"]
