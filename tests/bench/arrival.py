"""A tiny HTTP server in a thread that notes when the first request arrives."""

from __future__ import annotations

import asyncio
import threading
import time
from types import TracebackType
from typing import Self

from .nginx import ANSWER

_REPLY = (
    f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(ANSWER)}\r\n\r\n{ANSWER}"
).encode()


class FirstArrival:
    """Answers every call alike; a context manager.

    Attributes:
        base_url: where it listens.
        at: when the first request arrived, on the monotonic clock; None before that.
        calls: requests answered.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.at: float | None = None
        self.calls = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def forget(self) -> None:
        """Wait for another first request."""
        self.at, self.calls = None, 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if self.at is None:
                    self.at = time.monotonic()
                length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
                self.calls += 1
                writer.write(_REPLY)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
