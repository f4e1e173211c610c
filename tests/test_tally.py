"""Live counts of a run."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.flow.recording import carried_on
from qfbatch.records import Dropped, Record, Status
from qfbatch.tally import Standing, Tally, add_all, total

RECORD = Record(
    row_id="r", model="m", endpoint="e", shard=0, source_file="f", source_row=1, prompt="p",
    status=Status.SUCCEEDED, attempts=1, started_at=0, finished_at=0, parameters="{}",
)  # fmt: skip


@given(st.lists(st.sampled_from(list(Status)), max_size=50))
def test_counts_balance(statuses: list[Status]) -> None:
    """Every record is counted once, under its status, beside those of earlier sessions."""
    tally = Tally(Standing(succeeded=1, failed=2, skipped=3, left=len(statuses)))
    tally.add(msgspec.structs.replace(RECORD, status=status) for status in statuses)
    counted = Counter(statuses)
    standing = tally.standing()
    assert (6 + len(statuses), 0) == (standing.rows, standing.left)
    assert (1 + counted[Status.SUCCEEDED], 2 + counted[Status.FAILED], 3 + counted[Status.SKIPPED]) == (
        standing.succeeded,
        standing.failed,
        standing.skipped,
    )
    assert (len(statuses), counted[Status.SUCCEEDED]) == (tally.asked.rows, tally.asked.answered)


def test_costs_add_up_by_currency_and_dropped_answers_stand_apart() -> None:
    """Money of different currencies is never added; what was paid for dropped answers is a sum of its own."""
    one = Tally(Standing(cost={"CNY": 1.0}, discarded_tokens=3))
    answer = msgspec.structs.replace(
        RECORD, prompt_tokens=2, completion_tokens=3, total_tokens=5, cost=0.5, currency="CNY",
        discarded_tokens=7, discarded_cost=0.25,
    )  # fmt: skip
    one.add([answer])
    other = Tally()
    other.add([msgspec.structs.replace(answer, currency="USD")])
    both = total([one.standing(), other.standing()])
    assert ({"CNY": 1.5, "USD": 0.5}, {"CNY": 0.25, "USD": 0.25}) == (both.cost, both.discarded_cost)
    assert {"CNY": 1.75, "USD": 0.75} == both.spent
    assert (4, 6, 10, 17) == (
        both.prompt_tokens,
        both.completion_tokens,
        both.total_tokens,
        both.discarded_tokens,
    )


@given(st.lists(st.sampled_from("abc"), max_size=20))
def test_each_record_is_counted_for_its_own_model(models: list[str]) -> None:
    """A group of several models' records, in any order, is each model's own."""
    tallies = {model: Tally() for model in "abc"}
    add_all(tallies, [msgspec.structs.replace(RECORD, model=model) for model in models])
    assert {model: models.count(model) for model in "abc"} == {m: t.rows for m, t in tallies.items()}


def test_a_failed_row_asked_again_is_counted_once() -> None:
    """Its old failure goes when its new record comes."""
    tally = Tally(Standing(succeeded=1, failed=1, left=1))
    tally.replace_failed()
    tally.add([RECORD])
    assert Standing(succeeded=2) == tally.standing()


def test_what_a_failed_row_had_dropped_is_counted_once() -> None:
    """Its new record carries it on, beside what it drops itself; neither is counted twice."""
    before = Standing(failed=1, left=1, discarded_tokens=7, discarded_cost={"CNY": 0.5})
    tally = Tally(before)
    dropped = Dropped(7, 0.5, "CNY")
    tally.replace_failed(dropped)
    again = msgspec.structs.replace(RECORD, discarded_tokens=2, discarded_cost=0.25, currency="CNY")
    tally.add([carried_on(again, dropped)])
    standing = tally.standing()
    assert (1, 0, 9, {"CNY": 0.75}) == (
        standing.succeeded,
        standing.failed,
        standing.discarded_tokens,
        standing.discarded_cost,
    )
    assert 2 == tally.asked.discarded_tokens


def test_money_is_carried_on_in_its_own_currency() -> None:
    """A price in another currency since: the tokens stay counted, the amounts are not mixed."""
    assert (5, None, None) == _dropped(carried_on(RECORD, Dropped(5)))
    assert (5, 0.5, "CNY") == _dropped(carried_on(RECORD, Dropped(5, 0.5, "CNY")))
    dollars = msgspec.structs.replace(RECORD, cost=1.0, currency="USD")
    assert (5, None, "USD") == _dropped(carried_on(dollars, Dropped(5, 0.5, "CNY")))
    assert RECORD is carried_on(RECORD, None)


def _dropped(record: Record) -> tuple[int, float | None, str | None]:
    return record.discarded_tokens, record.discarded_cost, record.currency
