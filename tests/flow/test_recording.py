"""What a row's record holds."""

from __future__ import annotations

import msgspec

from qfbatch.flow.recording import Course, record_of
from qfbatch.pricing import Price
from qfbatch.records import Action, Completion, ErrorKind, Failure, Record, Request, Status, Usage

REQUEST = Request(
    row_id="row-7",
    source_file="rows.jsonl",
    source_row=7,
    model="m",
    shard=3,
    prompt="Why?",
    parameters={"temperature": 0.5},
    parameters_text='{"temperature":0.5}',
    estimated_tokens=11,
    columns={"topic": "sky"},
)
COURSE = Course(
    attempts=2,
    wait_s=0.25,
    started_at=1_700_000_000.5,
    finished_at=1_700_000_003.5,
    latency_s=1.5,
    time_to_first_token_s=0.75,
    discarded_tokens=13,
    discarded_cost=0.5,
    currency="CNY",
)
SAME_IN_BOTH = {
    "row_id": "row-7",
    "model": "m",
    "endpoint": "east",
    "shard": 3,
    "source_file": "rows.jsonl",
    "source_row": 7,
    "prompt": "Why?",
    "attempts": 2,
    "started_at": 1_700_000_000_500_000,
    "finished_at": 1_700_000_003_500_000,
    "parameters": '{"temperature":0.5}',
    "discarded_tokens": 13,
    "discarded_cost": 0.5,
    "currency": "CNY",
    "latency_s": 1.5,
    "time_to_first_token_s": 0.75,
    "wait_s": 0.25,
    "columns": {"topic": "sky"},
}
PRICE = Price(prompt_per_1k=1000.0, completion_per_1k=2000.0)
USAGE = Usage(4, 5, 9)


def held(record: Record) -> dict[str, object]:
    """What stands in the record, by field."""
    return {name: value for name, value in msgspec.structs.asdict(record).items() if value is not None}


def test_an_answer_lands_in_its_fields() -> None:
    """Each thing known of an answered row stands in the field of its name, and nothing in another."""
    answer = Completion(
        result="Because.",
        usage=USAGE,
        is_safe=True,
        need_clear_history=False,
        is_truncated=True,
        ban_round=6,
        finish_reason="normal",
        response_id="as-1",
        object="completion",
        created=1_700_000_001,
        extra='{"logprobs":1}',
    )
    expected = SAME_IN_BOTH | {
        "status": Status.SUCCEEDED,
        "result": "Because.",
        "is_safe": True,
        "need_clear_history": False,
        "is_truncated": True,
        "ban_round": 6,
        "finish_reason": "normal",
        "prompt_tokens": 4,
        "completion_tokens": 5,
        "total_tokens": 9,
        "usage_source": USAGE.source,
        "cost": PRICE.of_usage(USAGE),
        "response_id": "as-1",
        "object": "completion",
        "created": 1_700_000_001,
        "extra": '{"logprobs":1}',
    }
    assert expected == held(record_of(REQUEST, PRICE, "east", COURSE, answer))


def test_a_failure_lands_in_its_fields() -> None:
    """Each thing known of a failed row stands in the field of its name, and nothing of an answer."""
    failure = Failure(ErrorKind.SERVER, Action.ROW, "internal error", code=336100, is_safe=False)
    expected = SAME_IN_BOTH | {
        "status": Status.FAILED,
        "is_safe": False,
        "error_kind": ErrorKind.SERVER,
        "error_code": 336100,
        "error_message": "internal error",
    }
    assert expected == held(record_of(REQUEST, PRICE, "east", COURSE, failure))
    # Where the endpoint asked last has no price, what another one was paid for keeps its currency.
    assert expected == held(record_of(REQUEST, None, "east", COURSE, failure))
