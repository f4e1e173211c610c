"""The limiter: the one process that knows all limits of a run, and deals shares of them to its nodes."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Mapping

from msgspec import Struct

from qfbatch.limits.quota import Quota
from qfbatch.limits.shares import Lease, SharedQuota, Usage


class Dealt(Struct, frozen=True):
    """What a node gets for its report.

    Attributes:
        era: of the limiter; another one than before knows nothing of what was said before.
        leases: by gate.
        again_s: when to report next.
    """

    era: str
    leases: dict[str, Lease]
    again_s: float


class Limiter:
    """An actor. It keeps nothing on disk: one that begins anew learns from the nodes what it has to know.

    Args:
        again: whether leases of an earlier one may last.
    """

    def __init__(self, *, again: bool) -> None:
        self._era = uuid.uuid4().hex
        self._quota = SharedQuota(time.monotonic(), again=again)
        self._rng = random.Random()  # noqa: S311 - spreads the ends of pauses

    async def exchange(self, node: str, usages: Mapping[str, tuple[Quota, Usage]]) -> Dealt:
        """Take a node's report; its shares."""
        leases = self._quota.exchange(node, usages, time.monotonic(), uniform=self._rng.random())
        return Dealt(self._era, leases, self._quota.again_s)

    async def leave(self, node: str) -> None:
        """A node is gone."""
        self._quota.leave(node)


__all__ = ["Dealt", "Limiter"]
