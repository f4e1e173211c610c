"""Who waits for a committer: for room, or for the first failure, which ends all waiting for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Waiting:
    """The waiting side of a committer, on its event loop.

    The first failure (a `StorageError`, an error of a callback) is kept: every later call raises it, who
    waits is woken, and nothing more is accepted.

    Args:
        crowded: whether there is no room for a new row now.
    """

    def __init__(self, crowded: Callable[[], bool]) -> None:
        self._crowded = crowded
        self._room = asyncio.Event()
        self._failed = asyncio.Event()
        self.error: Exception | None = None

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self.error is not None:
            raise self.error

    def fail(self, error: Exception) -> None:
        """Something failed; of several failures the first one counts."""
        self.error = self.error or error
        self._failed.set()
        self._room.set()

    def settle(self) -> None:
        """Let those who wait for room look again, if there is some."""
        if self.error is not None or not self._crowded():
            self._room.set()

    async def for_room(self) -> None:
        """Wait until there is room.

        Raises:
            StorageError: a commit or merge failed, before or while waiting.
        """
        self.check()
        while self._crowded():
            self._room.clear()
            await self._room.wait()
            self.check()

    async def for_failure(self) -> None:
        """Wait for the first failure and raise it; never returns."""
        await self._failed.wait()
        self.check()


__all__ = ["Waiting"]
