"""The one type a carried column has in every part of a run, from all its values in the whole input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import IntFlag
from operator import itemgetter
from typing import Any

from qfbatch.errors import InputError
from qfbatch.records import InputColumn
from qfbatch.template import missing_column

MAX_COLUMNS = 50_000  # more names than this are data, not columns; results could not be opened
_REMEMBERED = 1000  # names kept beside the ones asked for, to suggest one of them
_INT64 = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)  # whole numbers a float64 holds exactly


class Seen(IntFlag):
    """What kinds of values a column has had so far; null is none."""

    STRING = 1
    BOOL = 2
    INT = 4
    FLOAT = 8
    NESTED = 16
    BEYOND_EXACT = 32  # an int that float64 would round
    BEYOND_INT64 = 64


_KINDS: dict[int, str] = {
    0: "string",
    Seen.STRING: "string",
    Seen.BOOL: "bool",
    Seen.INT: "int64",
    Seen.FLOAT: "float64",
    Seen.INT | Seen.FLOAT: "float64",
}

_SEEN: dict[type, int] = {
    str: Seen.STRING,
    bool: Seen.BOOL,
    int: Seen.INT,
    float: Seen.FLOAT,
    list: Seen.NESTED,
    dict: Seen.NESTED,
    type(None): 0,
}


def seen_range(low: int, high: int) -> Seen:
    """What a column with these smallest and largest whole numbers has had."""
    if low not in _INT64 or high not in _INT64:
        return Seen.INT | Seen.BEYOND_EXACT | Seen.BEYOND_INT64
    if low not in _EXACT or high not in _EXACT:
        return Seen.INT | Seen.BEYOND_EXACT
    return Seen.INT


def seen_in_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Columns of these rows in order of appearance, with what kinds of values they have."""
    names = list(rows[0]) if rows else []
    if names and set(map(len, rows)) == {len(names)}:
        with suppress(KeyError):  # as many columns, but others
            return {name: _seen_in(rows, name) for name in names}
    return _seen_one_by_one(rows)


def _seen_in(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    seen = 0
    for kind in set(map(type, map(itemgetter(name), rows))):
        seen |= _SEEN[kind]
    if seen & Seen.INT:
        numbers = [value for row in rows if type(value := row[name]) is int]
        seen |= seen_range(min(numbers), max(numbers))
    return seen


def _seen_one_by_one(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """As above for rows of different columns: linear in values, however few rows share a column."""
    found: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            seen = _SEEN[type(value)]
            if seen == Seen.INT:
                seen = seen_range(value, value)
            found[name] = found.get(name, 0) | seen
    return found


class ColumnKinds:
    """The columns met so far, in order of appearance.

    Args:
        names: the ones the job asks to carry, in its order; None for all.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names
        self._seen: dict[str, int] = dict.fromkeys(names or (), 0)
        self._absent = set(self._seen)

    def add(self, seen: Mapping[str, int]) -> None:
        """Takes what one block has shown.

        Raises:
            InputError: there are more columns than any table could have.
        """
        known = self._seen
        for name, flags in seen.items():
            if name in known or self._names is None or len(known) < _REMEMBERED:
                known[name] = known.get(name, 0) | flags
        self._absent.difference_update(seen)
        if self._names is None and len(known) > MAX_COLUMNS:
            raise InputError(
                f"the input has more than {MAX_COLUMNS:,} different columns",
                hint="Name the ones to carry into the results in `input.columns`.",
            )

    def carried(self, *, without: Sequence[str]) -> tuple[InputColumn, ...]:
        """The columns to carry into the results.

        Args:
            without: what is left out unless asked for by name: it stands in the results under another name.

        Raises:
            InputError: a column the job asks for is in no row.
        """
        names = self._names
        if names is None:
            names = [name for name in self._seen if name not in without]
        for name in names:
            if name in self._absent:
                others = [other for other in self._seen if other not in self._absent]
                raise InputError(f"input.columns: {missing_column(name, others)}")
        return tuple(InputColumn(name, _kind(self._seen[name])) for name in dict.fromkeys(names))


def _kind(seen: int) -> str:
    plain = seen & ~Seen.BEYOND_EXACT
    if plain == Seen.INT | Seen.FLOAT and seen & Seen.BEYOND_EXACT:
        return "json"
    return _KINDS.get(plain, "json")
