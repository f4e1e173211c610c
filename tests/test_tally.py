"""Live counts of a run."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.records import ErrorKind, Record, Status
from qfbatch.tally import Tally

RECORD = Record(
    row_id="r", model="m", endpoint="e", shard=0, source_file="f", source_row=1, prompt="p",
    status=Status.SUCCEEDED, attempts=1, started_at=0, finished_at=0, parameters="{}",
)  # fmt: skip


@given(st.lists(st.sampled_from(list(Status)), max_size=50))
def test_counts_balance(statuses: list[Status]) -> None:
    """Every record is counted once, under its status."""
    tally = Tally(succeeded=1, failed=2, skipped=3)
    tally.add(msgspec.structs.replace(RECORD, status=status) for status in statuses)
    counted = Counter(statuses)
    assert 6 + len(statuses) == tally.rows
    assert (1 + counted[Status.SUCCEEDED], 2 + counted[Status.FAILED], 3 + counted[Status.SKIPPED]) == (
        tally.succeeded,
        tally.failed,
        tally.skipped,
    )


def test_costs_add_up_by_currency_and_errors_by_kind_and_code() -> None:
    """Money of different currencies is never added; errors are told apart by kind and code."""
    tally = Tally(cost={"CNY": 1.0})
    failed = msgspec.structs.replace(
        RECORD, status=Status.FAILED, error_kind=ErrorKind.SERVER, error_code=2, is_safe=False
    )
    answers = [msgspec.structs.replace(RECORD, cost=0.5, currency=c, total_tokens=5) for c in ("CNY", "USD")]
    tally.add([*answers, failed, failed])
    assert {"CNY": 1.5, "USD": 0.5} == tally.cost
    assert {("server", 2): 2} == dict(tally.errors)
    assert (10, 2) == (tally.total_tokens, tally.unsafe)
