"""Values that don't fit their results column, as null: an answer is paid for, and a shard has to close.

A service may send a code beyond 32 bits, and an input edited between two starts may hold a text where
numbers were surveyed. Neither may keep the answers beside it from being stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from qfbatch.records import InputColumn, Record

_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)
_FLOAT_LIMIT = 2**1023
_BOUNDS = {
    "ban_round": _INT32,
    "error_code": _INT32,
    "created": _INT64,
    "prompt_tokens": _INT64,
    "completion_tokens": _INT64,
    "total_tokens": _INT64,
}


def fitting(record: Record, input_columns: Sequence[InputColumn]) -> Record:
    """The record with null in place of what its column can't hold."""
    beyond = {
        name: None
        for name, bounds in _BOUNDS.items()
        if (value := getattr(record, name)) is not None and value not in bounds
    }
    columns = {
        column.name: value
        for column in input_columns
        if _fits(column.kind, value := record.columns.get(column.name))
    }
    return msgspec.structs.replace(record, columns=columns, **beyond)


def _fits(kind: str, value: object) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int64":
            return isinstance(value, int) and value in _INT64
        case "float64":
            return isinstance(value, float) or (isinstance(value, int) and abs(value) < _FLOAT_LIMIT)
        case _:
            return True


__all__ = ["fitting"]
