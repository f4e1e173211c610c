"""Every fault of the service, met by a whole run: each row ends as the specification's table says."""

from __future__ import annotations

from typing import Any

import pytest

from .desk import Desk
from .endings import Ending, common_endings

# Written out from the specification: what a row of each fault ends as after two attempts.
ROW_CODES = {
    336001, 336002, 336003, 336006, 336007, 336008, 336102, 336103, 336104, 336105, 336303, 337006, 424242,
}  # fmt: skip
RETRIED_CODES = {1, 2, 15, 336000, 336200}
THROTTLE_CODES = {4, 18, 336100, 336501, 336502}
JOB_CODES = {3, 6, 13, 14, 17, 19, 100, 336004, 336005, 336101}
ROW_STATUSES = {400, 404, 422}
JOB_STATUSES = {401, 403}


def endings(*, stream: bool) -> dict[str, Ending]:
    """For each prompt with a fault: status, error code and calls of its row."""
    expected = common_endings(stream=stream)
    for code in ROW_CODES | ROW_STATUSES:
        expected[f"{{{{fault: {code}}}}}"] = ("failed", code, 1)
    for code in RETRIED_CODES:
        expected[f"{{{{fault: {code}}}}}"] = ("failed", code, 2)
        expected[f"{{{{fault: {code} times=1}}}}"] = ("succeeded", None, 2)
    for code in THROTTLE_CODES:
        expected[f"{{{{fault: {code} times=1}}}}"] = ("succeeded", None, 2)
    for wait in ("0.1", "date:1"):
        expected[f"{{{{fault: 429 times=1 retry_after={wait}}}}}"] = ("succeeded", None, 2)
    return expected


@pytest.mark.parametrize("stream", [False, True])
def test_every_fault_ends_as_the_table_says(desk: Desk, stream: bool) -> None:  # noqa: FBT001 - a case
    """Rows are retried, failed or throttled by their own fault, whole or streamed, and the counts balance."""
    expected = endings(stream=stream)
    desk.rows(list(expected))
    desk.job(parameters={"stream": stream}, limits={"concurrency": 8})
    done = desk.type("run", "job.yaml", "--quiet")
    assert done.code == 1, done.err
    found = {
        row["prompt"]: (row["status"], row["error_code"], row["attempts"])
        for row in desk.results().iter_rows(named=True)
    }
    assert expected == found
    failed = sum(ending[0] == "failed" for ending in expected.values())
    assert f"{len(expected) - failed} succeeded, {failed} failed" in done.err


def test_the_answer_column_holds_answers_only(desk: Desk) -> None:
    """A failed row has an error and no result; a succeeded one a result, be it empty, and no error."""
    desk.rows(list(endings(stream=False)))
    desk.job(limits={"concurrency": 8})
    desk.type("run", "job.yaml", "--quiet")
    for row in desk.results().iter_rows(named=True):
        answered = row["status"] == "succeeded"
        kept: tuple[Any, ...] = (
            row["result"] is not None,
            row["error_kind"] is None,
            row["error_message"] is None,
        )
        assert (answered, answered, answered) == kept
    unsafe = desk.results().filter(prompt="{{answer: unsafe}}").row(0, named=True)
    assert (False, True, -1) == (unsafe["is_safe"], unsafe["need_clear_history"], unsafe["ban_round"])


@pytest.mark.parametrize("code", sorted(JOB_CODES | JOB_STATUSES))
def test_a_refusal_of_the_job_stops_it_at_the_first_proof(desk: Desk, code: int) -> None:
    """What every row would meet stops the run resumably, and no row is recorded as failed for it."""
    desk.rows(40)
    endpoint = desk.job(endpoint=f"echo,fault={code}", limits={"concurrency": 4})
    done = desk.type("run", "job.yaml", "--quiet")
    assert (done.code, "0 succeeded, 0 failed, 40 left" in done.err) == (5, True), done.err
    assert len(desk.server.calls(endpoint)) <= 4
