"""SIGINT and SIGTERM: the first asks a run to end, the second does not ask."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from qfbatch.errors import Interrupted
from qfbatch.flow.stopping import Stop, StopButton


@contextlib.contextmanager
def stop_on_signals(
    loop: asyncio.AbstractEventLoop,
    stop: Stop,
    *,
    grace_s: float,
    now_or_never: Callable[[], None],
    button: StopButton,
) -> Iterator[None]:
    """While the context lasts, the first signal ends the run in an orderly way.

    Args:
        loop: the running loop.
        stop: told of the first signal.
        grace_s: how long calls on their way may take after it.
        now_or_never: called when that time is over, or at once by a signal to a run that is ending already.
        button: pressed by another thread, it counts as a signal.
    """

    def received(signum: signal.Signals) -> None:
        """End the run in order at the first signal, at once at the second one."""
        if stop.requested:
            now_or_never()
            return
        stop.request(
            Interrupted(f"interrupted by {signum.name}", signum=signum, hint="Everything answered is kept.")
        )
        loop.call_later(grace_s, now_or_never)

    def pressed(signum: signal.Signals) -> None:
        """The same from another thread: what it changes belongs to the loop."""
        loop.call_soon_threadsafe(received, signum)

    before = {}
    for signum in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(signum)
        # Not to be had on Windows' loops nor off the main thread: there Python's own handling stays.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signum, received, signum)
            before[signum] = handler
    try:
        with button.connected(pressed):
            yield
    finally:
        for signum, handler in before.items():
            loop.remove_signal_handler(signum)
            signal.signal(signum, handler)


@contextlib.contextmanager
def press_on_signals(button: StopButton) -> Iterator[None]:
    """While the context lasts, signals press the button of a run that another thread works on.

    An event loop that waits in this thread has handlers of its own: they would keep the signal until the run
    has ended. Off the main thread, where no signal arrives, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    for signum in before:
        signal.signal(signum, lambda number, _frame: button.press(signal.Signals(number)))
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
