"""Exit codes from the tree of errors; kinds of failures with the services' codes from their tables."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any

from qfbatch import errors
from qfbatch.cli.main import INTERNAL_ERROR, TRACEBACK_VARIABLE
from qfbatch.records import Action, ErrorKind
from qfbatch.service import openai_errors, qianfan
from qfbatch.service.http_failures import classify_status
from reference.markdown import code, first_sentence, table

# Exit codes that are no class of errors, or are one only by its signal.
OUTCOMES = {
    0: "every row succeeded, or the command did what it was asked",
    1: "complete, but some rows failed; of `report`, a gate was not met",
    INTERNAL_ERROR: f"qfbatch itself failed; please report it, with what `{TRACEBACK_VARIABLE}=1` prints",
    130: "SIGINT (Ctrl-C): what was answered is kept",
    143: "SIGTERM: likewise",
}
RESUMABLE = {4, 5, 6, 130, 143}
HTTP_ERRORS = range(400, 600)

EXITS = """\
Every command ends with one of these. After those marked so, the same `qfbatch run` goes on where the run
stopped (after 4, once its cause is mended)."""
EXCEPTIONS = """\
From Python each is an exception, a subclass of `qfbatch.QfbatchError` with this number as `exit_code`:"""
KINDS = """\
What `error_kind` of the results and reports may be, and what becomes it. `error_code` beside it is the
service's own number, else the HTTP status. What is done about each (the word in brackets), the waits and
the breaker: [failures](../failures.md#what-is-done-about-a-failed-call)."""


def page() -> str:
    """Exit codes, then what `error_kind` may be and the codes that become it."""
    return "\n\n".join(
        [
            "## Exit codes",
            EXITS,
            table(["exit", "what happened", "resumable"], _exits()),
            EXCEPTIONS,
            table(["exception", "exit", ""], _exceptions()),
            "## Kinds of failures",
            KINDS,
            table(
                ["`error_kind`", "", "codes of `qianfan`", "of `openai` and `openai-chat`", "HTTP"], _kinds()
            ),
            table(["word", ""], ([code(action), words] for action, words in comments(Action).items())),
        ]
    )


def comments(enum: type[Enum]) -> dict[str, str]:
    """What stands beside each member of an enumeration in its source."""
    found = dict(re.findall(r'^    \w+ = "(\w+)"  # (.*)$', inspect.getsource(enum), re.MULTILINE))
    assert list(found) == [member.value for member in enum], f"say beside each member of {enum} what it means"
    return found


def _tree(error: type[errors.QfbatchError] = errors.QfbatchError) -> Iterator[type[errors.QfbatchError]]:
    """The classes of errors.py below one, depth first."""
    for below in error.__subclasses__():
        if below.__module__ == errors.__name__:
            yield below
            yield from _tree(below)


def _exits() -> Iterator[list[str]]:
    told = dict(OUTCOMES)
    for error in _tree():
        if error.exit_code not in told and error is not errors.Interrupted:
            told[error.exit_code] = first_sentence(error)
    told[2] = "the command line or the job file is wrong"
    for number in sorted(told):
        yield [str(number), told[number], "yes" if number in RESUMABLE else ""]


def _exceptions() -> Iterator[list[str]]:
    for error in _tree():
        number = "130, 143" if error is errors.Interrupted else str(error.exit_code)
        yield [code(error.__name__), number, first_sentence(error)]


def _kinds() -> Iterator[list[str]]:
    http = {
        status.value: classify_status(status.value) for status in HTTPStatus if status.value in HTTP_ERRORS
    }
    for kind, words in comments(ErrorKind).items():
        yield [
            code(kind),
            words,
            _codes(qianfan.ERROR_CODES, kind),
            _codes(openai_errors.ERROR_CODES | openai_errors.STATUSES, kind),
            _statuses(http, kind),
        ]


def _codes(codes: Mapping[Any, tuple[ErrorKind, Action]], kind: str) -> str:
    return _by_action((name, action) for name, (found, action) in codes.items() if found == kind)


def _statuses(http: Mapping[int, tuple[ErrorKind, Action]], kind: str) -> str:
    # These two stand for whole ranges of statuses.
    if kind == ErrorKind.INVALID_REQUEST:
        return "other 4xx (row)"
    if kind == ErrorKind.SERVER:
        return "5xx, 425 (retry)"
    return _by_action((status, action) for status, (found, action) in http.items() if found == kind)


def _by_action(codes: Iterable[tuple[object, Action]]) -> str:
    by_action: dict[Action, list[str]] = {}
    for name, action in codes:
        by_action.setdefault(action, []).append(code(name))
    return "; ".join(f"{', '.join(names)} ({action})" for action, names in by_action.items())
