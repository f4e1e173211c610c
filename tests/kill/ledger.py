"""The scripted server's ledger: who was paid for, whatever happened to the client."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
from scripted import ScriptedServer

Paid = tuple[str, str]  # endpoint and prompt
DRAIN_S = 60.0


class _Line(msgspec.Struct):
    endpoint: str
    prompt: str


_decode = msgspec.json.Decoder(_Line).decode


class Ledger:
    """Reads a server's ledger as it grows.

    Args:
        path: the file given to `--ledger`.
        from_start: whether what it holds already is to be counted.
    """

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self._file = path.open("rb")
        if not from_start:
            self._file.read()
        self._begun = b""  # of a line that was read while it was written
        self.paid: Counter[Paid] = Counter()

    @property
    def total(self) -> int:
        """Answers paid for since the start, as of the last `read`."""
        return self.paid.total()

    def read(self) -> list[Paid]:
        """Answers completed since the last reading."""
        *lines, self._begun = (self._begun + self._file.read()).split(b"\n")
        new = [(entry.endpoint, entry.prompt) for entry in map(_decode, lines)]
        self.paid.update(new)
        return new

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def calls_received(server: ScriptedServer, endpoints: Iterable[str]) -> int:
    """Calls that have reached these endpoints since the server's last reset."""
    return sum(server.traffic(endpoint).get("calls", 0) for endpoint in endpoints)


def drain(server: ScriptedServer, endpoints: Iterable[str]) -> None:
    """Wait until the server has ended every call: those of a killed client are answered, and billed, too."""
    deadline = time.monotonic() + DRAIN_S
    for endpoint in endpoints:
        while server.traffic(endpoint).get("in_flight"):
            assert time.monotonic() < deadline, "the server still has calls in flight"
            time.sleep(0.02)


__all__ = ["Ledger", "Paid", "calls_received", "drain"]
