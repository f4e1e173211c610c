"""Log lines on stderr, as text or JSON: for terminals without a bar, files and log collectors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from qfbatch.progress.events import Event, Pulse, RunStarted
from qfbatch.progress.facts import facts, rate, remaining
from qfbatch.progress.telling import Telling
from qfbatch.tally import total
from qfbatch.wording import count, things

EVERY_S = 10.0


class LogLines:
    """An observer that writes a line when something happened, and one of progress every so often.

    Args:
        now: wall clock, seconds since the epoch.
        stream: where the lines go.
        as_json: one JSON object a line instead of text: `time`, `level`, `message`, and with a line of
            progress the figures themselves under `progress`.
        progress: whether to write progress lines.
        every_s: between two progress lines, and between two lines about troubles of the same kind.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        stream: TextIO | None = None,
        as_json: bool = False,
        progress: bool = True,
        every_s: float = EVERY_S,
    ) -> None:
        self._now = now
        self._stream = stream or sys.stderr
        self._as_json = as_json
        self._progress = progress
        self._every_s = every_s
        self._rows = 0
        self._last = float("-inf")
        self._telling = Telling(now, every_s)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted():
                self._rows = event.rows
                self._last = self._now()
                for note in event.notes:
                    self._write("warning", note)
                if event.done < event.rows:
                    self._write(
                        "info",
                        f"run {event.run}: {things(event.rows, 'row')}, {count(event.done)} done before",
                    )
            case Pulse():
                self._tell(event)
            case _:
                news = self._telling(event)
                if news is not None:
                    self._write(news.level, news.text)

    def _tell(self, pulse: Pulse) -> None:
        now = self._now()
        if not self._progress or now - self._last < self._every_s:
            return
        self._last = now
        run, outlook = total(pulse.models.values()), pulse.outlook
        done = self._rows - run.left
        words = [f"{count(done)}/{things(self._rows, 'row')}", rate(outlook.rows_per_s)]
        words += [fact.text for fact in facts(pulse)]
        words.append(remaining(outlook.eta_s))
        figures = {"rows": self._rows, "done": done, **msgspec.to_builtins(pulse)}
        figures.pop("type")
        self._write("info", ", ".join(words), progress=figures)

    def _write(self, level: str, text: str, **more: Any) -> None:
        moment = datetime.fromtimestamp(self._now(), UTC)
        if self._as_json:
            line = json.dumps(
                {"time": moment.isoformat(timespec="milliseconds"), "level": level, "message": text, **more},
                ensure_ascii=False,
            )
        else:
            line = f"{moment.astimezone():%H:%M:%S} {text}"
        print(line, file=self._stream, flush=True)
