"""When a run in which nothing succeeds is stopped."""

from __future__ import annotations

import pytest

from qfbatch.breaker import Breaker, BreakerPolicy
from qfbatch.records import Action, ErrorKind, Failure

DOWN = Failure(ErrorKind.CONNECTION, Action.RETRY, "connection refused")
UNWELL = Failure(ErrorKind.SERVER, Action.RETRY, "internal error", code=336000)
WRONG = Failure(ErrorKind.INVALID_REQUEST, Action.ROW, "bad request", code=336001)
SLOW_DOWN = Failure(ErrorKind.RATE_LIMITED, Action.THROTTLE, "rpm", code=336501)


def trips_at(failure: Failure, *, rows: int, every_s: float, until_s: float) -> float | None:
    """When a fresh breaker trips that sees `failure` of `rows` rows in turn."""
    breaker = Breaker(BreakerPolicy(), 0.0)
    now = 0.0
    number = 0
    while now <= until_s:
        if breaker.failed(failure, now, f"r{number % rows}") is not None:
            return now
        number += 1
        now = number * every_s
    return None


def test_unreachable_service_trips_in_ten_seconds() -> None:
    """Nothing reached over 10 s stops the run, with one worker or many."""
    assert trips_at(DOWN, rows=100, every_s=0.25, until_s=60.0) == 10.0
    assert trips_at(DOWN, rows=1, every_s=0.25, until_s=60.0) == 10.0


def test_short_outage_does_not_trip() -> None:
    """A thousand refused connections within 9 s are a restart, not an end."""
    assert trips_at(DOWN, rows=100, every_s=0.009, until_s=9.0) is None


def test_unwell_service_trips_after_a_quiet_minute() -> None:
    """Server errors of many rows stop the run only after no answer came for a whole minute."""
    assert trips_at(UNWELL, rows=100, every_s=0.5, until_s=120.0) == 60.0


def test_last_poison_rows_never_trip() -> None:
    """A few rows the service cannot bear end as failed rows, however often they are tried."""
    assert trips_at(UNWELL, rows=15, every_s=1.0, until_s=10_000.0) is None


def test_slow_answer_on_its_way_does_not_trip() -> None:
    """An answer within the quiet time forgives all failures before it."""
    breaker = Breaker(BreakerPolicy(), 0.0)
    for number in range(590):
        assert breaker.failed(UNWELL, number * 0.1, f"r{number}") is None
    breaker.succeeded()
    for number in range(590):
        assert breaker.failed(UNWELL, 60 + number * 0.1, f"r{number}") is None


def test_rows_refused_alike_trip_at_a_hundred() -> None:
    """A request that is wrong in every row is proved by a hundred of them."""
    breaker = Breaker(BreakerPolicy(), 0.0)
    reasons = [breaker.failed(WRONG, 0.0, f"r{number}") for number in range(100)]
    assert [None] * 99 == reasons[:99]
    assert "100 rows in a row failed alike (bad request)" == reasons[99]


def test_rows_refused_differently_do_not_trip() -> None:
    """Rows that fail each in its own way are the rows' fault."""
    breaker = Breaker(BreakerPolicy(), 0.0)
    other = Failure(ErrorKind.TOO_LONG, Action.ROW, "too long", code=336103)
    reasons = {breaker.failed((WRONG, other)[n % 2], 0.0, f"r{n}") for n in range(1000)}
    assert {None} == reasons


@pytest.mark.parametrize("proven", [False, True])
def test_a_bad_stretch_among_good_rows_does_not_trip(proven: bool) -> None:  # noqa: FBT001 - a case
    """Where rows were answered, now or in an earlier session, it takes a thousand refused ones."""
    breaker = Breaker(BreakerPolicy(), 0.0, proven=proven)
    if not proven:
        breaker.succeeded()
    reasons = [breaker.failed(WRONG, 0.0, f"r{number}") for number in range(1000)]
    assert [None] * 999 == reasons[:999]
    assert "1,000 rows in a row failed alike (bad request)" == reasons[999]


def test_answer_between_refused_rows_forgives_them() -> None:
    """One answer proves that the request can be right."""
    breaker = Breaker(BreakerPolicy(), 0.0)
    for number in range(1000):
        assert breaker.failed(WRONG, 0.0, f"r{number}") is None
        if number % 99 == 98:
            breaker.succeeded()


def test_rows_out_of_attempts_count_as_failed_alike() -> None:
    """Without waits between attempts a network that dies burns at most a hundred rows."""
    breaker = Breaker(BreakerPolicy(), 0.0)
    breaker.succeeded()
    reasons = [breaker.row_failed(DOWN) for _ in range(100)]
    assert [None] * 99 == reasons[:99]
    assert reasons[99] is not None


def test_row_is_not_given_up_where_nothing_was_ever_reached() -> None:
    """A wrong address is not the row's fault: the first row out of attempts stops the run."""
    breaker = Breaker(BreakerPolicy(), 0.0)
    assert breaker.failed(DOWN, 0.0, "r0") is None
    assert "not one call reached the service (connection refused)" == breaker.row_failed(DOWN)
    assert breaker.failed(UNWELL, 1.0, "r1") is None
    assert breaker.row_failed(DOWN) is None


def test_nothing_but_throttling_trips_after_its_own_time() -> None:
    """Refusals by rate stop the run only after 15 minutes of nothing else."""
    assert trips_at(SLOW_DOWN, rows=5, every_s=10.0, until_s=2000.0) == 900.0


def test_answer_or_other_failure_ends_the_throttled_time() -> None:
    """Throttling is counted only as long as nothing else happens."""
    breaker = Breaker(BreakerPolicy(), 0.0)
    for now in range(0, 5000, 10):
        assert breaker.failed(SLOW_DOWN, float(now), "r") is None
        if now % 500 == 0:
            breaker.succeeded()
        elif now % 250 == 0:
            assert breaker.failed(UNWELL, float(now), "r") is None
