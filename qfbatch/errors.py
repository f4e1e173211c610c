"""Everything that ends a command early, in one tree.

    QfbatchError                     exit   what happened
    ├── UsageError                   2      the command line cannot be carried out as given
    │   └── JobFileError             2      the job file is wrong, all its problems at once
    ├── InputError                   3      an input file or row is wrong
    ├── RunDirectoryError            4      the run directory cannot be used
    │   ├── RunDirectoryHeld         4      another process is using it
    │   ├── RunMismatch              4      it holds answers that this job would mix with others
    │   ├── Fenced                   4      another process took over what this one was writing
    │   └── StorageError             4      reading or writing it failed (disk full, no permission, damage)
    ├── ClusterLost                  4      the machines of a run on a cluster are gone; resumable
    ├── ServiceRefused               5      the service refuses the whole job; resumable
    ├── BudgetReached                6      the job's budget is used up; resumable
    └── Interrupted                  130/143  SIGINT / SIGTERM; resumable

A row that fails is not here: it is a value (`records.Failure`), it never raises. Each class owns its exit
code, and each instance carries the user's next step. Exit code 1 (complete, some rows failed) is an
outcome, not an error.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from qfbatch.wording import things


class QfbatchError(Exception):
    """Base of all errors a user can meet.

    Args:
        message: what is wrong, naming the file, line or field; one or more plain sentences.
        hint: the next step, as an instruction; empty where the message already says it.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(QfbatchError):
    """The command line cannot be carried out as given."""


class JobFileError(UsageError):
    """The job file is wrong.

    Args:
        path: the job file as the user named it.
        problems: every problem found, each already naming its line.
    """

    def __init__(self, path: str, problems: Sequence[str], *, hint: str = "") -> None:
        found = things(len(problems), "problem")
        super().__init__("\n".join([f"{path}: {found}", *(f"  {p}" for p in problems)]), hint=hint)
        self.path = path
        self.problems = tuple(problems)


class InputError(QfbatchError):
    """An input file or row is wrong.

    Args:
        message: what is wrong, without the place.
        source_file: the input file, as named in results (`source_file`).
        source_row: line (JSONL) or row (Parquet), from 1; None where the whole file is meant.

    Attributes:
        what: the message without the place.
    """

    exit_code = 3

    def __init__(
        self, message: str, *, source_file: str = "", source_row: int | None = None, hint: str = ""
    ) -> None:
        place = source_file if source_row is None else f"{source_file}:{source_row}"
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.what = message
        self.source_file = source_file
        self.source_row = source_row


class RunDirectoryError(QfbatchError):
    """The run directory cannot be used."""

    exit_code = 4


class RunDirectoryHeld(RunDirectoryError):  # noqa: N818 - reads as the state it reports
    """Another process is using the run directory; the message names it."""


class RunMismatch(RunDirectoryError):  # noqa: N818 - reads as the state it reports
    """The run directory holds answers that this job would mix with others."""


class Fenced(RunDirectoryError):  # noqa: N818 - reads as the state it reports
    """Another process took over what this one was writing; nothing more can be committed here."""


class StorageError(RunDirectoryError):
    """Reading or writing the run directory failed: disk full, no permission, damaged file."""


class ClusterLost(QfbatchError):  # noqa: N818 - reads as the state it reports
    """The machines that a run on a cluster works on are gone; what was answered is committed."""

    exit_code = 4


class ServiceRefused(QfbatchError):  # noqa: N818 - reads as the state it reports
    """The service refuses the whole job: credentials, permission, missing endpoint, exhausted quota."""

    exit_code = 5


class BudgetReached(QfbatchError):  # noqa: N818 - reads as the state it reports
    """The job's own budget is used up."""

    exit_code = 6


class Interrupted(QfbatchError):  # noqa: N818 - reads as the state it reports
    """A signal stopped the run; what was answered is committed.

    Args:
        signum: the signal; the exit code is 128 + signum, as shells have it.
    """

    def __init__(self, message: str, *, signum: int = signal.SIGINT, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.signum = signum
        self.exit_code = 128 + signum
