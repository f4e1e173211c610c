"""How long answers are expected to be where rows allow different lengths."""

from __future__ import annotations

import pytest

from qfbatch.planning.lengths import Length, Seen, expected_length

SHORT, LONG, FREE = Seen(10, 10, 0.1), Seen(100, 60, 0.6), Seen(None, 80, 0.8)


@pytest.mark.parametrize(
    ("seen", "left", "tokens", "latencies_s"),
    [
        ([SHORT, LONG], {100: 5}, 60, {0.6}),  # under the same cap
        ([LONG, FREE], {30: 1}, 30, {0.3}),  # both would have ended there
        ([SHORT, Seen(100, 4, 0.2)], {20: 1}, 4, {0.2}),  # ended by itself before that
        ([SHORT, Seen(20, 10, 0.1)], {200: 1}, 100, {1.0}),  # half of the highest cap was used
        ([SHORT, FREE], {None: 2}, 80, {0.8}),
        ([SHORT, LONG], {None: 2}, 35, {0.1, 0.6}),  # nothing better is known
        ([SHORT, LONG], {}, 35, {0.1, 0.6}),
        ([SHORT, LONG], {10: 3, 100: 1}, (3 * 10 + 60) / 4, {0.1, 0.6}),
    ],
)
def test_answers_are_taken_that_tell_most(
    seen: list[Seen], left: dict[int | None, float], tokens: float, latencies_s: set[float]
) -> None:
    """The same cap first, else longer answers cut at the cap, else the part of a lower cap that was used."""
    found = expected_length(seen, left)
    assert found.tokens == pytest.approx(tokens)
    assert {round(latency_s, 9) for latency_s in found.latencies_s} == latencies_s


def test_latencies_are_mixed_as_rows_are() -> None:
    """Calls under different caps take their time in the proportions of the rows that are left."""
    found = expected_length([SHORT, LONG], {10: 3, 100: 1})
    assert (300, 100) == (found.latencies_s.count(0.1), found.latencies_s.count(0.6))


def test_one_cap_changes_nothing() -> None:
    """Where all rows are alike the answers seen are told as they were, every one."""
    assert Length(20, (0.1, 0.3)) == expected_length([Seen(None, 10, 0.1), Seen(None, 30, 0.3)], {None: 4})
