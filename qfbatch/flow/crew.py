"""The workers of one model: as many rows at once as its limits allow, never idle while there are rows.

A worker takes a row, works it to its end and takes the next; there is no barrier anywhere. While a row waits
between two attempts its worker's place is taken by another worker, so slow retries cost no throughput; when
the row comes back there is one worker too many for a moment, and the next to finish its row leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

SPARE_WORKERS = 1024  # rows that may wait between attempts at once; beyond it their places stay empty


class Crew:
    """Runs workers until their work is done.

    Args:
        size: workers at work at once.
        work_next: takes and works one row; False when there is none left for this worker.
    """

    def __init__(self, size: int, work_next: Callable[[], Awaitable[bool]]) -> None:
        self._size = size
        self._work_next = work_next
        self._busy = 0
        self._all = 0
        self._group: asyncio.TaskGroup | None = None
        self._dry = False

    async def run(self) -> None:
        """Work until every worker has found nothing left."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for _ in range(self._size):
                self._hire()

    def row_waits(self) -> None:
        """A row starts waiting between attempts: its place is free."""
        self._busy -= 1
        if not self._dry and self._busy < self._size and self._all < self._size + SPARE_WORKERS:
            self._hire()

    def row_returns(self) -> None:
        """That row goes on."""
        self._busy += 1

    def _hire(self) -> None:
        assert self._group is not None, "workers are hired while the crew runs"  # noqa: S101
        self._busy += 1
        self._all += 1
        self._group.create_task(self._worker())

    async def _worker(self) -> None:
        try:
            while self._busy <= self._size:
                if not await self._work_next():
                    self._dry = True
                    return
        finally:
            self._busy -= 1
            self._all -= 1
