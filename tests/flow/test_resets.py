"""What services say of when a limit is whole again, over simulated time: buckets that fill, or windows."""

from __future__ import annotations

import asyncio

import pytest

from qfbatch.limits.quota import Quota
from qfbatch.records import Status
from qfbatch.service.dialect import RateSignals

from .services import FixedWindow, QuotaService, TokenBucket, Window
from .world import simulated

PER_MINUTE = 60
BEGINS_S = 1000.0  # the simulated clock's first moment


class Telling(QuotaService):
    """A service with sixty calls a minute, of which another client has just left one, and that says so.

    Args:
        window: how it counts.
        refills: whether it says that they come back evenly.
        limit: whether it says how many they are.
    """

    def __init__(self, window: Window, *, refills: bool, limit: bool = True) -> None:
        super().__init__(requests=(window,), latency_s=lambda _: 0.1)
        assert window.fits(1, BEGINS_S)
        window.spend(PER_MINUTE - 1, BEGINS_S)
        self._window, self._refills, self._limit = window, refills, limit

    def signals(self) -> RateSignals:
        """What is left, and when the bucket is full or the minute over."""
        now = asyncio.get_running_loop().time()
        left = next(left for left in range(PER_MINUTE, -1, -1) if not left or self._window.fits(left, now))
        bucket = isinstance(self._window, TokenBucket)
        return RateSignals(
            limit_requests=PER_MINUTE if self._limit else None,
            remaining_requests=left,
            reset_s=PER_MINUTE - left if bucket else 60.0 - now % 60.0,
            refills=self._refills,
        )


def bucket() -> TokenBucket:
    """One call a second, at most sixty at once."""
    return TokenBucket(1.0, PER_MINUTE)


def minute() -> FixedWindow:
    """Sixty calls between two full minutes; the first one is over after 20 s."""
    return FixedWindow(PER_MINUTE, 60.0)


@pytest.mark.parametrize(
    ("service", "least_s", "most_s", "refused"),
    [
        # Twenty rows at one a second, with rests of 3 s: what is empty is not waited for whole.
        (Telling(bucket(), refills=True), 19.0, 40.0, 0),
        # The same said without a unit, or without the limit: known is only that it is whole in a minute.
        (Telling(bucket(), refills=False), 60.0, 90.0, 0),
        (Telling(bucket(), refills=True, limit=False), 60.0, 90.0, 0),
        # A window that is told like a bucket: one call finds that out, and the others wait for its end.
        (Telling(minute(), refills=True), 39.0, 60.0, 1),
    ],
)
def test_a_limit_that_is_empty_is_waited_for(
    service: Telling, least_s: float, most_s: float, refused: int
) -> None:
    """A bucket is gone on with as it fills, anything else when it is whole, and few calls are refused."""
    ended = simulated(service, 20, limits=Quota(1))
    assert {Status.SUCCEEDED} == {record.status for record in ended.records}
    assert least_s <= ended.duration_s <= most_s
    assert refused == len(service.refused)
