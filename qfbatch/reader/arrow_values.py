"""Arrow values as JSON values, and what kinds of values a column of them has."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qfbatch.reader.kinds import Seen, seen_range

_DURATION_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def json_values(array: pa.Array) -> list[Any]:
    """An array's values as JSON has them.

    Strings, booleans and numbers as they are (a float that is not finite: null); dates, times and timestamps
    as ISO 8601 text, with a zone in UTC; durations as ISO 8601 text; decimals as text; bytes as base64;
    dictionaries as their values; lists, structs and maps as lists and objects.

    Raises:
        UnicodeDecodeError: a string is not UTF-8.
        pa.ArrowException: a type that has no such form.
    """
    array = _unwrapped(array)
    for is_kind, convert in _CONVERSIONS:
        if is_kind(array.type):
            return convert(array)
    return _as_they_are(array)


def seen_in(array: pa.Array) -> int:
    """The `kinds.Seen` flags of an array's values, as its `json_values` would have them."""
    if array.null_count == len(array):
        return 0
    array = _unwrapped(array)
    kind = array.type
    if pa.types.is_boolean(kind):
        return Seen.BOOL
    if pa.types.is_integer(kind):
        bounds = pc.min_max(array)
        return seen_range(bounds["min"].as_py(), bounds["max"].as_py())
    if pa.types.is_floating(kind):
        return Seen.FLOAT if pc.any(pc.is_finite(array)).as_py() else 0
    return Seen.NESTED if pa.types.is_nested(kind) else Seen.STRING


def _unwrapped(array: pa.Array) -> pa.Array:
    """The array behind dictionary encoding and extension types."""
    while True:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        else:
            return array


def _as_they_are(array: pa.Array) -> list[Any]:
    values: list[Any] = array.to_pylist()
    return values


def _floats(array: pa.Array) -> list[Any]:
    return _as_they_are(pc.if_else(pc.is_finite(array), array, None))


def _decimals(array: pa.Array) -> list[Any]:
    return _as_they_are(array.cast(pa.string()))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _bytes(array: pa.Array) -> list[Any]:
    return [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]


def _times(array: pa.Array) -> list[Any]:
    kind = array.type
    if pa.types.is_duration(kind):
        digits = _DURATION_DIGITS[kind.unit]
        counts = array.cast(pa.int64()).to_pylist()
        return [None if count is None else f"PT{Decimal(count).scaleb(-digits):f}S" for count in counts]
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        array = array.cast(pa.timestamp(kind.unit, "UTC"))  # what the file holds; the zone is a label on it
    texts = array.cast(pa.string())
    if pa.types.is_timestamp(kind):
        texts = pc.replace_substring(texts, " ", "T")
    return _as_they_are(texts)


def _structs(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type]
    fields = [json_values(field) for field in array.flatten()]
    rows = zip(*fields, strict=True) if fields else [()] * len(array)
    valid = array.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if ok else None for ok, row in zip(valid, rows, strict=True)]


def _maps(array: pa.Array) -> list[Any]:
    keys = [_key(key) for key in json_values(array.keys)]
    items = json_values(array.items)
    return [
        dict(zip(keys[begin:end], items[begin:end], strict=True)) if ok else None
        for ok, begin, end in _spans(array)
    ]


def _lists(array: pa.Array) -> list[Any]:
    kind = array.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        array = array.cast(pa.large_list(kind.value_field))  # fixed-size lists and list views
    values = json_values(array.values)
    return [values[begin:end] if ok else None for ok, begin, end in _spans(array)]


def _spans(array: pa.Array) -> Iterable[tuple[bool, int, int]]:
    """For each value of a list or map array: whether it is one, and where its parts begin and end."""
    bounds = array.offsets.to_pylist()
    return zip(array.is_valid().to_pylist(), bounds[:-1], bounds[1:], strict=True)


def _key(key: Any) -> str:
    """A map's key as an object's name."""
    if isinstance(key, bool):
        return "true" if key else "false"
    return key if isinstance(key, str) else str(key)


_CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], list[Any]]], ...] = (
    (pa.types.is_floating, _floats),
    (pa.types.is_temporal, _times),
    (pa.types.is_decimal, _decimals),
    (_is_binary, _bytes),
    (pa.types.is_struct, _structs),
    (pa.types.is_map, _maps),
    (pa.types.is_nested, _lists),
)
