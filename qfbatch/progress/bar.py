"""The tqdm display: a bar and a line of facts below it, which stay useful for hours.

Both are drawn twice a second, when a pulse comes, however many rows end; what is written meanwhile goes above
them. Their words are cut to the terminal's width as it is at that moment.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Never, TextIO

from tqdm import tqdm

from qfbatch.progress.events import AttemptFailed, Event, Pulse, RunEnded, RunStarted
from qfbatch.progress.facts import Fact, facts, fitting, rate, remaining
from qfbatch.progress.telling import Telling
from qfbatch.tally import total

WIDE = 120  # columns from which the bar's own line has room for words
NAME = 24  # characters of the run's name that are shown
_ALARM, _PLAIN = "\x1b[33m", "\x1b[0m"


class ProgressBar:
    """An observer that keeps a bar at a terminal: rows, rates, cost, failures, waits, what binds, time left.

    Args:
        stream: a terminal.
        environ: where `NO_COLOR` and `TERM` are looked up.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._color = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._bar: tqdm[Never] | None = None
        self._facts: tqdm[Never] | None = None
        self._name = ""
        self._rows = 0
        self._last: Sequence[Fact] = ()
        self._telling = Telling(clock)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted():
                self._start(event)
            case Pulse():
                self._show(event)
            case RunEnded():
                self._end()
            case _:
                news = self._telling(event)
                if news is not None and self._bar is not None and not isinstance(event, AttemptFailed):
                    tqdm.write(news.text, file=self._stream)  # above the bar

    def _start(self, event: RunStarted) -> None:
        for note in event.notes:
            print(f"note: {note}", file=self._stream)
        self._name = Path(event.run).name[:NAME]
        self._rows = event.rows
        bar: tqdm[Never] = tqdm(
            total=event.rows,
            initial=event.done,
            file=self._stream,
            dynamic_ncols=True,
            position=0,
            leave=True,
            bar_format=self._format(event.done, 0.0, ""),
        )
        self._facts = tqdm(
            file=self._stream, dynamic_ncols=True, position=1, leave=False, bar_format="{desc}"
        )
        self._bar = bar

    def _show(self, pulse: Pulse) -> None:
        bar, line = self._bar, self._facts
        if bar is None or line is None:
            return
        width = self._width()
        outlook = pulse.outlook
        bar.n = self._rows - total(pulse.models.values()).left
        left = remaining(outlook.eta_s) if bar.n < self._rows else "done"
        bar.bar_format = self._format(int(bar.n), outlook.rows_per_s, left if width >= WIDE else _brief(left))
        bar.refresh()
        self._last = facts(pulse)
        line.set_description_str(self._line(self._last, width), refresh=True)

    def _format(self, done: int, rows_per_s: float, left: str) -> str:
        """The bar's line; the bar itself takes the room that is left."""
        percent = 100 * done // self._rows if self._rows else 100
        words = f"{done:,}/{self._rows:,}, {rate(rows_per_s)}"
        words = f"{words}, {left}" if left else words
        return f"{_literal(self._name)} {percent:3}%|{{bar}}| {_literal(words)}"

    def _line(self, found: Sequence[Fact], width: int) -> str:
        shown = fitting(found, width - 1)
        if not self._color:
            return ", ".join(fact.text for fact in shown)
        return ", ".join(f"{_ALARM}{fact.text}{_PLAIN}" if fact.alarming else fact.text for fact in shown)

    def _end(self) -> None:
        bar, line = self._bar, self._facts
        if bar is None or line is None:
            return
        line.close()
        bar.close()
        if self._last:
            print(self._line(self._last, self._width()), file=self._stream)
        self._bar = self._facts = None

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):  # not a terminal after all, as in tests
            return 80


def _literal(text: str) -> str:
    """Text as it stands in a format."""
    return text.replace("{", "{{").replace("}", "}}")


def _brief(left: str) -> str:
    return left.removeprefix("about ").replace("time left unknown", "? left")
