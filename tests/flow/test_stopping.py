"""The end of a run before its input's end."""

from __future__ import annotations

import asyncio
import random

import pytest

from qfbatch.errors import BudgetReached, Interrupted
from qfbatch.flow.admission import Admission, Door, Lane, Passage
from qfbatch.flow.stopping import RunStopping, Stop
from qfbatch.job.settings import Budget
from qfbatch.limits.gate import Gate
from qfbatch.limits.quota import Quota
from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.retry import RetryPolicy

from .services import THROTTLED, ScriptedService, answered
from .simulated_time import simulate
from .world import simulated

UNWELL = Failure(ErrorKind.SERVER, Action.RETRY, "internal error", code=336000)


def lane(concurrency: int, qps: float | None = None) -> Lane:
    """A lane of its own on the running loop."""
    loop = asyncio.get_running_loop()
    admission = Admission(Gate(Quota(concurrency, adaptive=False), loop.time()), loop, random.Random(1))
    return admission.lane("m", [Passage(Gate(Quota(concurrency, qps=qps), loop.time()))])


def test_calls_on_their_way_are_recorded_and_nothing_else_begins() -> None:
    """Four calls are on their way when the run is stopped: four records, and the end comes with the last."""
    service = ScriptedService(lambda _: [answered()], latency_s=10.0)
    ended = simulated(service, 100, limits=Quota(4), stop_after_s=3.0)
    assert (4, 4, 10.0) == (len(ended.records), len(service.times), ended.duration_s)
    assert [] == ended.finished


@pytest.mark.parametrize("outcome", [UNWELL, THROTTLED])
def test_rows_between_calls_are_released_at_once(outcome: Failure) -> None:
    """Rows that wait after a failed call, or for a pause to end, are left undone the moment the run stops."""
    service = ScriptedService(lambda _: [outcome])
    retry = RetryPolicy(backoff_factor=100.0, max_wait_s=100.0)
    ended = simulated(service, 4, limits=Quota(4), retry=retry, stop_after_s=0.3)
    assert [] == ended.records
    assert pytest.approx(0.3) == ended.duration_s


def test_only_the_first_reason_counts() -> None:
    """A second reason neither replaces the first nor is told to anybody."""

    async def main() -> None:
        stop, told = Stop(), list[int]()
        stop.on_request(lambda: told.append(1))
        first = Interrupted("first")
        stop.request(first)
        stop.request(Interrupted("second"))
        await stop.wait()
        assert (first, [1], True) == (stop.reason, told, stop.requested)
        with pytest.raises(RunStopping):
            await stop.sleep(10.0)

    simulate(main())


def test_cancelled_waiter_gives_its_place_back() -> None:
    """A row cancelled while it waits takes no place; one cancelled just after being admitted returns it."""

    async def main() -> None:
        way = lane(1)
        door = await way.enter(1)
        assert door is not None
        waiting = [asyncio.ensure_future(way.enter(1)) for _ in range(3)]
        await asyncio.sleep(1.0)
        waiting[0].cancel()  # still waiting
        await asyncio.sleep(0)
        door.leave(started=0.0, estimated_tokens=1, actual_tokens=None)  # admits waiting[1] ...
        waiting[1].cancel()  # ... which is cancelled before it learns of it
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert [asyncio.CancelledError, asyncio.CancelledError, Door] == [type(outcome) for outcome in done]
        door.leave(started=0.0, estimated_tokens=1, actual_tokens=None)
        assert 0 == way.statistics(0.0).in_flight

    simulate(main())


def test_waiters_are_admitted_in_order_and_at_their_time() -> None:
    """At ten a second each row gets its turn, first come first served."""

    async def main() -> None:
        way, loop = lane(100, qps=10.0), asyncio.get_running_loop()
        admitted: list[int] = []

        async def row(number: int) -> None:
            assert await way.enter(1)
            admitted.append(number)

        began = loop.time()
        await asyncio.gather(*(row(number) for number in range(50)))
        assert list(range(50)) == admitted
        assert 49 / 9.8 == pytest.approx(loop.time() - began)

    simulate(main())


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_budget_stops_in_time(concurrency: int) -> None:
    """Where rows are what they were estimated at, at most one exceeds the budget, whatever is in flight."""
    ended = simulated(
        ScriptedService(lambda _: [answered(178)]),
        1000,
        limits=Quota(concurrency),
        budget=Budget(max_total_tokens=50_000),
        estimated_tokens=89,
    )
    spent = sum(r.total_tokens or 0 for r in ended.records)
    assert 50_000 <= spent < 50_000 + 2 * 178
    assert isinstance(ended.stop.reason, BudgetReached)
