"""A run as those who watch it see it: where each model stands, how fast it goes, when it will end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from qfbatch.job.settings import Job
from qfbatch.limits.gate import GateStatistics
from qfbatch.outlook import Forecast, ModelWork
from qfbatch.progress.events import AttemptFailed, Event, Pulse, Throttled
from qfbatch.records import Survey
from qfbatch.tally import Tally
from qfbatch.tokens import FIRST_EXPECTED_COMPLETION


class Admitting(Protocol):
    """Who is let through, in this process or in many."""

    @property
    def in_flight(self) -> int:
        """Calls on their way."""

    @property
    def waiting(self) -> int:
        """Rows waiting to be admitted."""

    def statistics(self) -> dict[str, GateStatistics]:
        """All limits at this moment: the run's under "", then each model's under its name."""


class Watch:
    """Makes the pulses of a session; itself an observer, of what only the events tell.

    Args:
        job: the job.
        found: its input.
        tallies: the models' live counts, as they are before the first call.
        limit: only so many rows of the input are meant; None for all.
    """

    def __init__(self, job: Job, found: Survey, tallies: Mapping[str, Tally], *, limit: int | None) -> None:
        self._tallies = tallies
        rows = found.rows if limit is None else min(limit, found.rows)
        works = {}
        for model in job.models:
            tally = tallies[model.name]
            before = tally.standing()
            works[model.name] = ModelWork(
                tally=tally,
                price=model.expected_price,
                estimated_tokens=found.estimated_prompt_tokens * rows / max(1, found.rows),
                rows=rows,
                done_tokens=before.prompt_tokens,
                done_rows=before.succeeded,
                expected_completion=FIRST_EXPECTED_COMPLETION,
            )
        self._forecast = Forecast(works)
        self._throttled = 0
        self._retried = 0

    def __call__(self, event: Event) -> None:
        """Count what is in no record yet."""
        if isinstance(event, Throttled):
            self._throttled += 1
        elif isinstance(event, AttemptFailed):
            self._retried += 1

    def pulse(self, admission: Admitting, now: float) -> Pulse:
        """How things stand.

        Args:
            admission: who is let through, and what keeps the others.
            now: seconds on the admission's clock.
        """
        lanes = admission.statistics()
        return Pulse(
            lanes=lanes,
            waiting=admission.waiting,
            models={name: tally.standing() for name, tally in self._tallies.items()},
            outlook=self._forecast.look(now, lanes),
            throttled=self._throttled,
            retried=self._retried,
        )
