"""A row's end as its record: what was asked, what came of it, what it took."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from qfbatch.pricing import Price
from qfbatch.records import Dropped, Failure, Record, Request, Status
from qfbatch.retry import Outcome

MICROSECONDS = 1_000_000
_SUCCEEDED = Status.SUCCEEDED  # to name it on a row's way takes as long as a tenth of the record


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
    if isinstance(outcome, Failure):
        return _of_failure(request, endpoint, course, outcome)
    usage = outcome.usage
    cost = None if price is None else price.of_usage(usage)
    # In the order of its fields, unnamed, and by itself: this is on the way of nearly every row, and naming
    # them takes eight times as long. A test holds each to its field.
    return Record(
        request.row_id,
        request.model,
        endpoint,
        request.shard,
        request.source_file,
        request.source_row,
        request.prompt,
        _SUCCEEDED,
        course.attempts,
        int(course.started_at * MICROSECONDS),
        int(course.finished_at * MICROSECONDS),
        request.parameters_text,
        outcome.result,
        outcome.is_safe,
        outcome.need_clear_history,
        outcome.is_truncated,
        outcome.ban_round,
        outcome.finish_reason,
        None if usage is None else usage.prompt_tokens,
        None if usage is None else usage.completion_tokens,
        None if usage is None else usage.total_tokens,
        None if usage is None else usage.source,
        course.discarded_tokens,
        course.discarded_cost,
        cost,
        course.currency if price is None or cost is None else price.currency,
        None,
        None,
        None,
        course.latency_s,
        course.time_to_first_token_s,
        course.wait_s,
        outcome.response_id,
        outcome.object,
        outcome.created,
        outcome.extra,
        request.columns,
    )


def _of_failure(request: Request, endpoint: str, course: Course, failure: Failure) -> Record:
    return Record(
        row_id=request.row_id,
        model=request.model,
        endpoint=endpoint,
        shard=request.shard,
        source_file=request.source_file,
        source_row=request.source_row,
        prompt=request.prompt,
        status=Status.FAILED,
        attempts=course.attempts,
        started_at=int(course.started_at * MICROSECONDS),
        finished_at=int(course.finished_at * MICROSECONDS),
        parameters=request.parameters_text,
        is_safe=failure.is_safe,
        discarded_tokens=course.discarded_tokens,
        discarded_cost=course.discarded_cost,
        currency=course.currency,
        error_kind=failure.kind,
        error_code=failure.code,
        error_message=failure.message,
        latency_s=course.latency_s,
        time_to_first_token_s=course.time_to_first_token_s,
        wait_s=course.wait_s,
        columns=request.columns,
    )
