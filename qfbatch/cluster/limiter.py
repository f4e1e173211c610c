"""The limiter: the one process that knows all limits of a run, and deals shares of them to its nodes."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Mapping

from msgspec import Struct

from qfbatch._version import __version__
from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import Lease, SharedQuota, Usage, lease_length_s

LEFT_AGAIN_S = 5.0  # how soon a node that was given up asks again, if it lives


class Dealt(Struct, frozen=True):
    """What a node gets for its report.

    Attributes:
        era: of the limiter; another one than before knows nothing of what was said before.
        leases: by gate.
        again_s: when to report next.
        lease_s: how long the leases last, from when they were asked for.
    """

    era: str
    leases: dict[str, Lease]
    again_s: float
    lease_s: float


class Limiter:
    """An actor. It keeps nothing on disk: one that begins anew learns from the nodes what it has to know.

    Args:
        again: whether leases of an earlier one may last.
        nodes: how many the run is to have.

    Nothing in it waits, so it is no asynchronous actor: Ray takes half as long again for a call of one.
    """

    def __init__(self, *, again: bool, nodes: int) -> None:
        self._era = uuid.uuid4().hex
        self._quota = SharedQuota(time.monotonic(), again=again, lease_s=lease_length_s(nodes))
        self._rng = random.Random()  # noqa: S311 - spreads the ends of pauses
        self._left: set[str] = set()

    def version(self) -> str:
        """Of qfbatch here."""
        return __version__

    def exchange(self, node: str, usages: Mapping[str, tuple[Quota, Usage]]) -> Dealt:
        """Take a node's report; its shares, and none for one that has left, however much it lives."""
        if node in self._left:
            return Dealt(self._era, {}, LEFT_AGAIN_S, self._quota.lease_s)
        leases = self._quota.exchange(node, usages, time.monotonic(), uniform=self._rng.random())
        return Dealt(self._era, leases, self._quota.again_s(node), self._quota.lease_s)

    def leave(self, node: str) -> None:
        """A node is gone for good: no name is used again.

        A report of it may still come, of a process that outlives its machine's Ray for a moment, or a frozen
        one. It must not hold shares or places that nobody would ever take back from it.
        """
        self._left.add(node)
        self._quota.leave(node)


__all__ = ["Dealt", "Limiter"]
