"""Requests on their way out: those of one turn of the event loop leave together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Outbox:
    """Has requests written together: those of one turn of the event loop, one right after the other.

    Written each by itself, between the work on two rows, every request wakes a fast service anew, on another
    processor even: that takes the sending process twice the time of the writing.

    Args:
        loop: the running loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Callable[[], None]] = []

    def post(self, write: Callable[[], None]) -> None:
        """Have this called, which writes a request, as soon as whatever the loop has at hand is done."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append(write)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            write()
