"""A session from its begin to its end, whoever works in it: this process alone, or many that it deals to."""

from __future__ import annotations

from collections.abc import Callable

from qfbatch.budget import uncounted_note
from qfbatch.flow.session import OpenSession, RunOptions, RunResult, open_session
from qfbatch.job.settings import Job
from qfbatch.planning.predicting import keep_prediction
from qfbatch.progress.events import Observer, RunEnded, RunStarted, Surveyed, to_all


def in_session(
    job: Job,
    options: RunOptions,
    carry_out: Callable[[OpenSession, Observer], RunResult],
    *,
    now: Callable[[], float],
    observe: Observer,
) -> RunResult:
    """Open the job's run, have what is left of it done, and keep how that ended.

    Args:
        job: the job.
        options: of this session.
        carry_out: does what is left; not called where nothing is.
        now: wall clock, seconds since the epoch.
        observe: takes what happens; `carry_out` gets one that outlives its failures.

    Raises:
        InputError, RunDirectoryError: see `open_session`.
    """
    observe = to_all([observe])
    with open_session(
        job, options, now=now, on_survey=lambda done, total: observe(Surveyed(done, total))
    ) as session:
        if any(session.work.values()):
            keep_prediction(job, session)
            if note := uncounted_note(job, session.before.spent):
                session.notes.append(note)
            result = carry_out(session, observe)
        else:
            result = _complete(session, observe)
        session.exit_code = result.exit_code
        session.ended = "" if result.reason is None else result.reason.message
    return result


def _complete(session: OpenSession, observe: Observer) -> RunResult:
    """What comes of a run that has nothing left to do."""
    done = session.committed
    exit_code = 1 if done.failed else 0
    observe(started(session, rows=done.rows, done=done.rows))
    observe(RunEnded(exit_code, done.succeeded, done.failed, left=0))
    return RunResult(exit_code, done.succeeded, done.failed, left=0, asked=0)


def started(session: OpenSession, *, rows: int, done: int) -> RunStarted:
    """The event that a session begins with."""
    return RunStarted(
        str(session.layout), rows, done, notes=tuple(session.notes), models=dict(session.standing)
    )


__all__ = ["in_session", "started"]
