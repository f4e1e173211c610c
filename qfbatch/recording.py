"""A row's end as its record: what was asked, what came of it, what it took."""

from __future__ import annotations

from functools import partial

import msgspec
from msgspec import Struct

from qfbatch.job.settings import ModelSettings
from qfbatch.records import Dropped, Failure, Record, Request, Status
from qfbatch.retry import Outcome
from qfbatch.service.parameters import as_sent

MICROSECONDS = 1_000_000


class Course(Struct):
    """What a row's way to its outcome took; kept up to date while it is worked on.

    Attributes:
        attempts: calls made.
        wait_s: spent waiting for limits and between attempts.
        started_at, finished_at: of the first call's start and the last one's end, seconds since the epoch.
        latency_s, time_to_first_token_s: of the last call.
        discarded_tokens: known to be paid for answers that had to be dropped.
        discarded_cost: of these; None where nothing was dropped or tokens have no price.
    """

    attempts: int = 0
    wait_s: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    latency_s: float = 0.0
    time_to_first_token_s: float | None = None
    discarded_tokens: int = 0
    discarded_cost: float | None = None

    def drop(self, failure: Failure, model: ModelSettings) -> None:
        """A call failed; where its answer was paid for all the same, that is counted."""
        if failure.usage is None:
            return
        self.discarded_tokens += failure.usage.total_tokens
        cost = None if model.price is None else model.price.of_usage(failure.usage)
        if cost is not None:
            self.discarded_cost = (self.discarded_cost or 0.0) + cost


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
    request: Request, model: ModelSettings, endpoint: str, course: Course, outcome: Outcome
) -> Record:
    """The row's record.

    Args:
        request: what was asked.
        model: of whom.
        endpoint: where, the last time.
        course: what it took.
        outcome: what came of it.
    """
    price = model.price
    common = partial(
        Record,
        row_id=request.row_id,
        model=request.model,
        endpoint=endpoint,
        shard=request.shard,
        source_file=request.source_file,
        source_row=request.source_row,
        prompt=request.prompt,
        attempts=course.attempts,
        started_at=int(course.started_at * MICROSECONDS),
        finished_at=int(course.finished_at * MICROSECONDS),
        parameters=as_sent(request.parameters),
        latency_s=course.latency_s,
        time_to_first_token_s=course.time_to_first_token_s,
        wait_s=course.wait_s,
        discarded_tokens=course.discarded_tokens,
        discarded_cost=course.discarded_cost,
        columns=request.columns,
    )
    if isinstance(outcome, Failure):
        return common(
            status=Status.FAILED,
            is_safe=outcome.is_safe,
            currency=None if course.discarded_cost is None or price is None else price.currency,
            error_kind=outcome.kind,
            error_code=outcome.code,
            error_message=outcome.message,
        )
    usage = outcome.usage
    cost = None if price is None else price.of_usage(usage)
    unpriced = price is None or (cost is None and course.discarded_cost is None)
    return common(
        status=Status.SUCCEEDED,
        result=outcome.result,
        is_safe=outcome.is_safe,
        need_clear_history=outcome.need_clear_history,
        is_truncated=outcome.is_truncated,
        ban_round=outcome.ban_round,
        finish_reason=outcome.finish_reason,
        prompt_tokens=None if usage is None else usage.prompt_tokens,
        completion_tokens=None if usage is None else usage.completion_tokens,
        total_tokens=None if usage is None else usage.total_tokens,
        usage_source=None if usage is None else usage.source,
        cost=cost,
        currency=None if unpriced or price is None else price.currency,
        response_id=outcome.response_id,
        object=outcome.object,
        created=outcome.created,
        extra=outcome.extra,
    )
