"""Records and plans that tests are made of; the same number always makes the same record."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from qfbatch.records import ErrorKind, InputColumn, Record, Shard, Status, UsageSource

RUN_ID = "run-1"
COLUMNS = (InputColumn("topic", "string"), InputColumn("score", "int64"))


def record(number: int, *, model: str = "m", shard: int = 0, take: int = 1, **fields: Any) -> Record:
    """The record of input row `number` (from 0); every seventh fails on its first take."""
    failed = take == 1 and number % 7 == 3
    answered: dict[str, Any] = {
        "result": f"answer {take} to {number} " + hashlib.sha256(str(number).encode()).hexdigest() * 3,
        "prompt_tokens": 10 + number,
        "completion_tokens": 20,
        "total_tokens": 30 + number,
        "usage_source": UsageSource.REPORTED,
        "cost": 0.001 * (number + 1),
        "currency": "CNY" if number % 2 else "USD",
        "response_id": f"as-{number}",
    }
    refused: dict[str, Any] = {
        "error_kind": ErrorKind.SERVER,
        "error_code": 336000,
        "error_message": "internal\nerror",
        "discarded_tokens": number,
        "discarded_cost": 0.01 * number,
        "currency": "CNY",
    }
    known: dict[str, Any] = {
        "row_id": f"row-{number}",
        "model": model,
        "endpoint": "ep",
        "shard": shard,
        "source_file": "in.jsonl",
        "source_row": number + 1,
        "prompt": f"question {number}: 你好",
        "status": Status.FAILED if failed else Status.SUCCEEDED,
        "attempts": take,
        "started_at": 1_790_000_000_000_000 + number,
        "finished_at": 1_790_000_000_500_000 + number,
        "parameters": '{"temperature":0.8}',
        "columns": {"topic": "geo", "score": number},
    }
    return Record(**(known | (refused if failed else answered) | fields))


def plan(shards: int, rows: int) -> tuple[Shard, ...]:
    """`shards` shards of `rows` rows each."""
    return tuple(Shard(n, "in.jsonl", n * rows + 1, rows, n * rows) for n in range(shards))


def totals(records: Iterable[Record]) -> dict[str, Any]:
    """What a summary of these latest records has to say, by plain arithmetic."""
    rows = list(records)
    statuses = [r.status for r in rows]
    return {
        "rows": len(rows),
        "succeeded": statuses.count(Status.SUCCEEDED),
        "failed": statuses.count(Status.FAILED),
        "skipped": statuses.count(Status.SKIPPED),
        "prompt_tokens": sum(r.prompt_tokens or 0 for r in rows),
        "completion_tokens": sum(r.completion_tokens or 0 for r in rows),
        "total_tokens": sum(r.total_tokens or 0 for r in rows),
        "discarded_tokens": sum(r.discarded_tokens for r in rows),
        "cost": _by_currency((r.currency, r.cost) for r in rows),
        "discarded_cost": _by_currency((r.currency, r.discarded_cost) for r in rows),
    }


def _by_currency(amounts: Iterable[tuple[str | None, float | None]]) -> dict[str, float]:
    known = [(currency or "", amount) for currency, amount in amounts if amount is not None]
    return {c: math.fsum(a for other, a in known if other == c) for c in sorted({c for c, _ in known})}


def as_dict(struct: msgspec.Struct) -> dict[str, Any]:
    """A struct as a dict, for comparing."""
    return msgspec.structs.asdict(struct)
