"""The job's own budget."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from qfbatch.budget import BudgetGuard
from qfbatch.job.settings import Budget
from qfbatch.records import Record, Status

RECORD = Record(
    row_id="r", model="m", endpoint="e", shard=0, source_file="f", source_row=1, prompt="p",
    status=Status.SUCCEEDED, attempts=1, started_at=0, finished_at=0, parameters="{}",
    total_tokens=30, discarded_tokens=12, cost=0.5, currency="CNY",
)  # fmt: skip


def test_no_budget_lets_everything_pass() -> None:
    """Without limits nothing is ever reached."""
    guard = BudgetGuard(Budget(), spent_tokens=10**12, spent_cost=1e12)
    assert (False, True, None) == (guard.limited, guard.has_room, guard.used_up())


def test_dropped_answers_are_counted() -> None:
    """Tokens of answers that were paid for and thrown away count like those kept."""
    guard = BudgetGuard(Budget(max_total_tokens=42))
    guard.spend(RECORD)
    assert "budget.max_total_tokens (42) is used up: 42 tokens spent" == guard.used_up()
    assert not guard.has_room


def test_rows_on_their_way_are_counted_until_they_end() -> None:
    """What is in flight leaves no room at its expected size; the budget is used up only by what was spent."""
    guard = BudgetGuard(Budget(max_total_tokens=100))
    guard.reserve(60, 0.0)
    assert guard.has_room
    guard.reserve(60, 0.0)
    assert (False, None) == (guard.has_room, guard.used_up())
    guard.release(60, 0.0)
    assert guard.has_room


def test_rows_that_ended_leave_nothing_behind() -> None:
    """Once nothing is on its way, no residue of sums of floats is taken for a row to wait for."""
    guard = BudgetGuard(replace(Budget(), max_cost=1.0), spent_cost=1.0 - 2**-53)
    for cost in (0.1, 0.2, 0.3):
        guard.reserve(0.0, cost)
    for cost in (0.3, 0.1, 0.2):
        guard.release(0.0, cost)
    assert guard.has_room


def test_cost_is_limited_over_all_sessions() -> None:
    """What earlier sessions cost counts."""
    guard = BudgetGuard(replace(Budget(), max_cost=2.0), spent_cost=1.0)
    guard.spend(RECORD)
    assert guard.has_room
    guard.spend(RECORD)
    assert "budget.max_cost (2) is used up: 2.0000 spent" == guard.used_up()


def test_dropped_answers_cost_like_those_kept() -> None:
    """What was paid for an answer that had to be dropped is spent, where its price is known."""
    guard = BudgetGuard(replace(Budget(), max_cost=1.0))
    guard.spend(msgspec.structs.replace(RECORD, discarded_cost=0.75))
    assert "budget.max_cost (1) is used up: 1.2500 spent" == guard.used_up()


def test_record_without_cost_or_tokens_spends_nothing() -> None:
    """A failed row without usage costs nothing."""
    guard = BudgetGuard(Budget(max_total_tokens=1, max_cost=0.1))
    guard.spend(msgspec.structs.replace(RECORD, total_tokens=None, discarded_tokens=0, cost=None))
    assert guard.has_room
