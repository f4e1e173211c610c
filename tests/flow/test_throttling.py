"""Refusals by rate: they pause the endpoint, burn no attempt, and lose no row."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from qfbatch.breaker import BreakerPolicy
from qfbatch.limits.quota import Quota
from qfbatch.progress.events import AttemptFailed, Throttled
from qfbatch.records import ErrorKind, Status
from qfbatch.retry import RetryPolicy

from .services import OVERLOADED, THROTTLED, Answer, ScriptedService, answered
from .world import Ended, simulated

AFTER_3_S = msgspec.structs.replace(THROTTLED, retry_after_s=3.0)


def pauses(ended: Ended) -> list[float]:
    """The pauses that began, in order."""
    return [e.pause_s for e in ended.events if isinstance(e, Throttled) and e.pause_s > 0]


def test_throttling_burns_no_attempt() -> None:
    """A row refused by rate more often than it has attempts still succeeds; its calls are all counted."""
    service = ScriptedService(lambda _: [THROTTLED] * 4 + [answered()])
    ended = simulated(service, 1, limits=Quota(1), retry=RetryPolicy(retry_count=1))
    assert [(Status.SUCCEEDED, 5)] == [(r.status, r.attempts) for r in ended.records]
    assert [] == [e for e in ended.events if isinstance(e, AttemptFailed)]


@pytest.mark.parametrize("refusal", [THROTTLED, AFTER_3_S, OVERLOADED])
def test_refusals_arriving_together_are_one_pause(refusal: Answer) -> None:
    """Sixteen calls refused at once pause their endpoint once, and none of them runs into the pause."""
    service = ScriptedService(lambda _: [refusal, answered()])
    ended = simulated(service, 16, limits=Quota(16))
    assert 1 == len(pauses(ended))
    assert 16 == sum(isinstance(e, Throttled) for e in ended.events)
    assert {(Status.SUCCEEDED, 2)} == {(r.status, r.attempts) for r in ended.records}


def test_pauses_double_until_an_answer_and_stay_bounded() -> None:
    """Without Retry-After pauses are 0.5, 1, 2, 4, 8, 8, ... s, each up to a tenth longer."""
    service = ScriptedService(lambda _: [THROTTLED] * 10 + [answered()])
    ended = simulated(service, 1, limits=Quota(1))
    for expected, pause_s in zip([0.5, 1, 2, 4, 8, 8, 8, 8, 8, 8], pauses(ended), strict=True):
        assert expected <= pause_s <= expected * 1.1


@pytest.mark.parametrize(("asked", "least"), [(3.0, 3.0), (0.0, 0.0), (86_400.0, 60.0)])
def test_retry_after_sets_the_pause_up_to_a_minute(asked: float, least: float) -> None:
    """What the service asks for is kept, but one refusal never stalls a run for minutes."""
    refusal = msgspec.structs.replace(THROTTLED, retry_after_s=asked)
    ended = simulated(ScriptedService(lambda _: [refusal, answered()]), 1, limits=Quota(1))
    assert least - 0.001 <= ended.duration_s - 0.2 <= least * 1.1 + 0.001


def test_row_throttled_for_too_long_fails_while_others_succeed() -> None:
    """One row that never gets through is recorded as rate limited; the run goes on to its end."""
    service = ScriptedService(lambda prompt: [THROTTLED if prompt == "3" else answered()])
    retry = RetryPolicy(throttle_timeout_s=30.0)
    ended = simulated(service, 400, limits=Quota(4), retry=retry, breaker=BreakerPolicy(throttled_s=30.0))
    failed = [r for r in ended.records if r.status is Status.FAILED]
    assert [("r3", ErrorKind.RATE_LIMITED, 336501)] == [
        (r.row_id, r.error_kind, r.error_code) for r in failed
    ]
    assert (400, False) == (len(ended.records), ended.stop.requested)


def test_run_throttled_for_too_long_stops_and_leaves_the_rows() -> None:
    """When nothing but refusals by rate comes for the whole time the run stops, and no row is given up."""
    ended = simulated(
        ScriptedService(lambda _: [THROTTLED]),
        400,
        limits=Quota(8),
        retry=RetryPolicy(throttle_timeout_s=30.0),
        breaker=BreakerPolicy(throttled_s=30.0),
    )
    assert ended.stop.reason is not None
    assert 5 == ended.stop.reason.exit_code
    assert [] == ended.records
    assert ended.duration_s < 70.0


class Outage(ScriptedService):
    """Refuses everything between two moments."""

    def __init__(self, refusal: Answer, begin_s: float, end_s: float) -> None:
        super().__init__(lambda _: [answered()], latency_s=0.3)
        self.refusal, self.begin_s, self.end_s = refusal, begin_s, end_s
        self.refused: list[float] = []
        self.answered: list[float] = []
        self.began: float | None = None

    async def answer(self, prompt: str) -> Answer:
        """Refused at once, or answered."""
        loop = asyncio.get_running_loop()
        if self.began is None:
            self.began = loop.time()
        at = loop.time() - self.began
        if self.begin_s <= at < self.end_s:
            self.refused.append(at)
            await asyncio.sleep(0.02)
            return self.refusal
        self.answered.append(at)
        return await super().answer(prompt)


@pytest.mark.parametrize("refusal", [THROTTLED, OVERLOADED])
@pytest.mark.parametrize("begin_s", [0.0, 10.0])
def test_thirty_seconds_of_refusals_cost_no_attempt_and_end_in_no_herd(
    refusal: Answer, begin_s: float
) -> None:
    """All rows survive an outage with their attempts, few calls test it, and it does not end in a burst."""
    service = Outage(refusal, begin_s, begin_s + 30.0)
    ended = simulated(service, 10_000, limits=Quota(256), retry=RetryPolicy(retry_count=1))
    assert {Status.SUCCEEDED} == {r.status for r in ended.records}
    assert 10_000 == len(ended.records)
    assert len(service.refused) < 256 + 120
    first = min(at for at in service.answered if at >= begin_s + 30.0)
    assert sum(first <= at < first + 0.1 for at in service.answered) <= 96
    assert first < begin_s + 30.0 + 9.0


def test_full_speed_is_back_soon_after_an_outage() -> None:
    """Half a minute after the first answer the service is as busy as before the outage."""
    service = Outage(OVERLOADED, 10.0, 40.0)
    simulated(service, 120_000, limits=Quota(256), stop_after_s=82.0)
    before = sum(5.0 <= at < 10.0 for at in service.answered)
    first = min(at for at in service.answered if at >= 40.0)
    after = sum(first + 30.0 <= at < first + 35.0 for at in service.answered)
    assert after >= 0.95 * before
