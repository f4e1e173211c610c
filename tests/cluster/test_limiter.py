"""The limiter and nodes that have left: what one of them holds, nobody would take back."""

from __future__ import annotations

from qfbatch.cluster.limiter import Limiter
from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import Usage

QUOTA = Quota(concurrency=4, qps=1.0, adaptive=False)


def test_who_has_left_holds_nothing() -> None:
    """A node that was given up and reports all the same gets nothing, keeps nothing, and holds nobody up."""
    limiter = Limiter(again=False, nodes=2)
    hungry = {"run": (QUOTA, Usage(in_flight=4, peak=4, waiting=True))}
    assert limiter.exchange("zombie", hungry).leases["run"].concurrency
    limiter.leave("zombie")
    assert {} == limiter.exchange("zombie", hungry).leases
    wanting = {"run": (QUOTA, Usage(waiting=True, peak=4))}
    alone = Limiter(again=False, nodes=2).exchange("heir", wanting)
    assert alone.leases == limiter.exchange("heir", wanting).leases
    assert 4 == alone.leases["run"].concurrency
