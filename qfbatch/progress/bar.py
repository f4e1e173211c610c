"""The tqdm display: one line that stays useful for hours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Never, TextIO

from tqdm import tqdm

from qfbatch.progress.events import (
    Event,
    Pulse,
    RowsCommitted,
    RunEnded,
    RunStarted,
    Stopping,
    Throttled,
)


class ProgressBar:
    """An observer that keeps a tqdm bar: rows, rows/s, ETA, tokens, cost, failures, waits, what binds.

    Args:
        stream: a terminal.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm[Never] | None = None
        self._tokens = 0
        self._failed = 0
        self._throttled = 0
        self._cost: dict[str, float] = {}
        self._standing = ""

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunStarted):
            self._start(event)
        bar = self._bar
        if bar is None:
            return
        match event:
            case RowsCommitted():
                self._count(event)
                bar.set_postfix_str(self._postfix(), refresh=False)
                bar.update(len(event.records))
            case Throttled():
                self._throttled += 1
                if event.pause_s > 0:
                    bar.write(
                        f"{event.model}: throttled ({event.message}); pausing {event.pause_s:.1f} s",
                        file=self._stream,
                    )
            case Pulse():
                run = event.lanes[""]
                binding = sorted({gate.binding for gate in event.lanes.values()} - {""})
                self._standing = f"{run.in_flight} in flight"
                if event.waiting and binding:
                    self._standing += f", {event.waiting} wait for {'/'.join(binding)}"
                bar.set_postfix_str(self._postfix(), refresh=True)
            case Stopping() if event.in_flight:
                bar.write(
                    f"stopping, {event.in_flight} calls on their way: {event.reason}", file=self._stream
                )
            case RunEnded():
                bar.close()
                self._bar = None
            case _:
                pass

    def _start(self, event: RunStarted) -> None:
        for note in event.notes:
            print(f"note: {note}", file=self._stream)
        self._bar = tqdm(
            total=event.rows,
            initial=event.done,
            file=self._stream,
            unit="row",
            dynamic_ncols=True,
            smoothing=0.05,
            desc=Path(event.run).name,
        )

    def _count(self, event: RowsCommitted) -> None:
        for record in event.records:
            self._tokens += record.total_tokens or 0
            self._failed += record.error_kind is not None
            if record.cost is not None:
                currency = record.currency or ""
                self._cost[currency] = self._cost.get(currency, 0.0) + record.cost

    def _postfix(self) -> str:
        parts = [f"{self._tokens:,} tokens"]
        parts += [f"{amount:.4f} {currency}" for currency, amount in self._cost.items()]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._throttled:
            parts.append(f"{self._throttled} throttled")
        if self._standing:
            parts.append(self._standing)
        return ", ".join(parts)
