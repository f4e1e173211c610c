"""A row's end as its record: what was asked, what came of it, what it took."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from qfbatch.pricing import Price
from qfbatch.records import Completion, Dropped, Failure, Record, Request, Status
from qfbatch.retry import Outcome
from qfbatch.service.parameters import as_sent

MICROSECONDS = 1_000_000
_NO_ANSWER = Completion("")  # all that a failed row has of one


class Course(Struct):
    """What a row's way to its outcome took; kept up to date while it is worked on.

    Attributes:
        attempts: calls made.
        wait_s: spent waiting for limits and between attempts.
        started_at, finished_at: of the first call's start and the last one's end, seconds since the epoch.
        latency_s, time_to_first_token_s: of the last call.
        discarded_tokens: known to be paid for answers that had to be dropped.
        discarded_cost: of these, in `currency`; None where nothing was dropped or tokens have no price.
        currency: of `discarded_cost`.
    """

    attempts: int = 0
    wait_s: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    latency_s: float = 0.0
    time_to_first_token_s: float | None = None
    discarded_tokens: int = 0
    discarded_cost: float | None = None
    currency: str | None = None

    def drop(self, failure: Failure, price: Price | None) -> None:
        """A call failed; where its answer was paid for all the same, at this price, that is counted."""
        if failure.usage is None:
            return
        self.discarded_tokens += failure.usage.total_tokens
        cost = None if price is None else price.of_usage(failure.usage)
        if price is not None and cost is not None:
            self.discarded_cost = (self.discarded_cost or 0.0) + cost
            self.currency = price.currency


def carried_on(record: Record, before: Dropped | None) -> Record:
    """The record of a row asked again, with what its failed record before had to drop: it stays paid.

    Amounts in another currency than the record's cannot be carried on; their tokens are.
    """
    if before is None:
        return record
    cost, currency = record.discarded_cost, record.currency
    if before.cost is not None and currency in (None, before.currency):
        cost, currency = (cost or 0.0) + before.cost, before.currency
    return msgspec.structs.replace(
        record,
        discarded_tokens=record.discarded_tokens + before.tokens,
        discarded_cost=cost,
        currency=currency,
    )


def record_of(
    request: Request, price: Price | None, endpoint: str, course: Course, outcome: Outcome
) -> Record:
    """The row's record.

    Args:
        request: what was asked.
        price: of the endpoint asked last; None where the job states none.
        endpoint: its name.
        course: what it took.
        outcome: what came of it.
    """
    answer = _NO_ANSWER if isinstance(outcome, Failure) else outcome
    failure = outcome if isinstance(outcome, Failure) else None
    usage = answer.usage
    cost = None if price is None or failure is not None else price.of_usage(usage)
    currency = course.currency if price is None or cost is None else price.currency
    # In the order of its fields, unnamed: this is on the way of every row, and naming them takes eight times
    # as long. A test holds each to its field.
    return Record(
        request.row_id,
        request.model,
        endpoint,
        request.shard,
        request.source_file,
        request.source_row,
        request.prompt,
        Status.SUCCEEDED if failure is None else Status.FAILED,
        course.attempts,
        int(course.started_at * MICROSECONDS),
        int(course.finished_at * MICROSECONDS),
        as_sent(request.parameters),
        answer.result if failure is None else None,
        outcome.is_safe,
        answer.need_clear_history,
        answer.is_truncated,
        answer.ban_round,
        answer.finish_reason,
        None if usage is None else usage.prompt_tokens,
        None if usage is None else usage.completion_tokens,
        None if usage is None else usage.total_tokens,
        None if usage is None else usage.source,
        course.discarded_tokens,
        course.discarded_cost,
        cost,
        currency,
        None if failure is None else failure.kind,
        None if failure is None else failure.code,
        None if failure is None else failure.message,
        course.latency_s,
        course.time_to_first_token_s,
        course.wait_s,
        answer.response_id,
        answer.object,
        answer.created,
        answer.extra,
        request.columns,
    )
