"""What the scripted engine remembers: who called, and which answers were completed, that is, paid."""

from __future__ import annotations

import os
import time
from array import array
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec


class Tally:
    """Counts of one endpoint and prompt.

    Attributes:
        calls: valid calls received, refused ones included.
        admitted: those past the quotas; faults count these.
        answered: whole good answers sent.
    """

    __slots__ = ("admitted", "answered", "calls")

    def __init__(self) -> None:
        self.calls = 0
        self.admitted = 0
        self.answered = 0


class Traffic:
    """What one endpoint has seen.

    Attributes:
        arrivals: moment of each call, seconds on the monotonic clock.
        refused: calls refused by a quota.
        in_flight: calls being answered.
        in_flight_max: the most there ever were at once.
        admitted: calls let in.
    """

    def __init__(self) -> None:
        self.arrivals = array("d")
        self.refused = 0
        self.in_flight = 0
        self.in_flight_max = 0
        self.admitted = 0


class Ledger:
    """Counts of all endpoints and prompts.

    Args:
        path: completed answers are appended there, one JSON line each; None keeps them in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = None if path is None else os.open(path, flags, 0o644)
        self.tallies: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        self.traffic: defaultdict[str, Traffic] = defaultdict(Traffic)

    def called(self, endpoint: str, prompt: str) -> Tally:
        """A valid call has arrived."""
        self.traffic[endpoint].arrivals.append(time.monotonic())
        tally = self.tallies[endpoint, prompt]
        tally.calls += 1
        return tally

    def answered(self, endpoint: str, prompt: str) -> None:
        """A whole good answer has been sent."""
        self.tallies[endpoint, prompt].answered += 1
        if self._file is not None:
            line = msgspec.json.encode({"endpoint": endpoint, "prompt": prompt}) + b"\n"
            os.write(self._file, line)  # one write: whole lines, whoever is killed

    def forget(self, endpoint: str) -> None:
        """A call is over; one from before a reset is not missed."""
        seen = self.traffic[endpoint]
        seen.in_flight = max(seen.in_flight - 1, 0)

    def report(self, endpoint: str | None) -> dict[str, Any]:
        """All counts, of one endpoint or of all."""
        calls = [
            {"endpoint": name, "prompt": prompt, "calls": tally.calls, "answered": tally.answered}
            for (name, prompt), tally in self.tallies.items()
            if endpoint is None or name == endpoint
        ]
        endpoints = {
            name: {
                "calls": len(seen.arrivals),
                "refused": seen.refused,
                "in_flight": seen.in_flight,
                "in_flight_max": seen.in_flight_max,
                "arrivals": seen.arrivals.tolist(),
            }
            for name, seen in self.traffic.items()
            if endpoint is None or name == endpoint
        }
        return {"calls": calls, "endpoints": endpoints}

    def reset(self) -> None:
        """Forget all counts; the file keeps its lines."""
        self.tallies.clear()
        self.traffic.clear()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


__all__ = ["Ledger", "Tally", "Traffic"]
