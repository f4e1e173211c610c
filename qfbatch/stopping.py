"""The end of a run before its input's end: why, and how everybody learns of it.

The first reason counts. Whoever waits with nothing in flight (between attempts, for admission) is released at
once and leaves its row undone; a call on its way is given time to come back, for its answer will be paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from qfbatch.errors import QfbatchError


class RunStopping(Exception):  # noqa: N818 - control flow, not an error: the row is left for the next run
    """The run is ending and this row has nothing in flight."""


class Stop:
    """Whether and why the run is ending."""

    def __init__(self) -> None:
        self.reason: QfbatchError | None = None
        self._event = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether the run is ending."""
        return self.reason is not None

    def request(self, reason: QfbatchError) -> None:
        """End the run; only the first reason is kept."""
        if self.reason is not None:
            return
        self.reason = reason
        self._event.set()
        for listener in self._listeners:
            listener()

    def on_request(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the run is to end."""
        self._listeners.append(listener)

    async def wait(self) -> None:
        """Return when the run is to end."""
        await self._event.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleep, unless the run ends first.

        Raises:
            RunStopping: if it does.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
        raise RunStopping
