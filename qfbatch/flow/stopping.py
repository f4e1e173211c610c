"""The end of a run before its input's end: why, and how everybody learns of it.

The first reason counts. Whoever waits with nothing in flight (between attempts, for admission) is released at
once and leaves its row undone; a call on its way is given time to come back, for its answer will be paid for.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from qfbatch.errors import QfbatchError, ServiceRefused
from qfbatch.records import ErrorKind, Failure

_RESUME = "then run the same command again to resume."
_NEXT_STEP = {
    ErrorKind.CREDENTIALS: f"Check the keys in the environment or .env, {_RESUME}",
    ErrorKind.PERMISSION: f"Publish the service or ask for permission, {_RESUME}",
    ErrorKind.NOT_FOUND: "Check the model's `endpoint` and service.base_url, then run again.",
    ErrorKind.QUOTA: f"Wait for the quota to be renewed or pay the account, {_RESUME}",
}


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


class StopButton:
    """Ends a run from another thread, as a signal would: the first press asks, the second does not.

    It may be pressed at any time: before the run listens, the press waits for it; afterwards it does nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant: a signal may come while its handler presses
        self._pressed: list[signal.Signals] = []
        self._listener: Callable[[signal.Signals], object] | None = None

    def press(self, signum: signal.Signals = signal.SIGINT) -> None:
        """Ask the run to end, as by this signal; returns at once."""
        with self._lock:
            self._pressed.append(signum)
            if self._listener is not None:
                self._listener(signum)

    @contextmanager
    def connected(self, listener: Callable[[signal.Signals], object]) -> Iterator[None]:
        """Call `listener` for every press, those before included, while the context lasts.

        Args:
            listener: takes the signal; safe to call from any thread.
        """
        with self._lock:
            self._listener = listener
            for signum in self._pressed:
                listener(signum)
        try:
            yield
        finally:
            with self._lock:
                self._listener = None


def address(url: str) -> str:
    """Host and port of a URL, without anything that could be a secret."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2]


def nothing_succeeds(where: str, reason: str) -> ServiceRefused:
    """The reason to stop when nothing gets through any more.

    Args:
        where: the model and its endpoint.
        reason: the breaker's, as a clause.
    """
    return ServiceRefused(
        f"{where}: {reason}; the run stopped instead of burning the input.",
        hint=f"Check the network, service.base_url and the service, {_RESUME}",
    )


def job_refused(where: str, failure: Failure, found: str, *, others: int = 0) -> ServiceRefused:
    """The reason to stop when the service refuses the whole job.

    Args:
        where: the model and its endpoint.
        failure: what it answered.
        found: where the credentials came from; never what they are.
        others: how many other endpoints of the model refused before.
    """
    before = f" (and so did all {others + 1} endpoints of the model)" if others else ""
    code = "" if failure.code is None else f"error {failure.code}: "
    step = _NEXT_STEP.get(failure.kind, f"Correct it, {_RESUME}")
    return ServiceRefused(
        f"{where}: the service refuses the job: {code}{failure.message}{before}",
        hint=f"{step} (Credentials in use: {found}.)",
    )
