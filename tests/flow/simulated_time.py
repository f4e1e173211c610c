"""An event loop whose clock jumps: whenever nothing is ready, time is the next timer's. Nothing sleeps."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set: whoever still waits would wait for ever."""


class _JumpingSelector(selectors.SelectSelector):
    loop: SimulatedLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise DeadlockError("nothing is ready and no timer is set")
        self.loop.now += timeout
        return events


class SimulatedLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop over simulated time; work for threads is done at once, in place."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self.now = 1000.0
        super().__init__(selector)

    def time(self) -> float:
        """Simulated seconds."""
        return self.now

    def run_in_executor(  # type: ignore[override]  # the base class is typed more loosely than it behaves
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call `func` now; threads would make simulated runs differ from each other."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed on, as an executor does
            future.set_exception(error)
        return future


def simulate(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` over simulated time; leftover tasks are an error."""
    loop = SimulatedLoop()
    try:
        result = loop.run_until_complete(main)
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        assert not left, left
        return result
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.close()
