"""The survey's own bar: reading a large input takes a while before the first call."""

from __future__ import annotations

import sys
from typing import Never, TextIO

from tqdm import tqdm

from qfbatch.progress.events import Event, Surveyed

SHOWN_FROM_BYTES = 64 * 1024 * 1024  # less is read before a bar could be looked at


class SurveyProgress:
    """An observer that shows how far the survey of a large input has come.

    Args:
        stream: a terminal.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm[Never] | None = None

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if not isinstance(event, Surveyed):
            if self._bar is not None:
                self._bar.close()
                self._bar = None
            return
        if self._bar is None:
            if event.total_bytes < SHOWN_FROM_BYTES:
                return
            self._bar = tqdm(
                total=event.total_bytes,
                file=self._stream,
                unit="B",
                unit_scale=True,
                desc="reading the input",
                dynamic_ncols=True,
                leave=False,
            )
        self._bar.update(event.done_bytes - self._bar.n)
