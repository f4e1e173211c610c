"""What a row is made of: its id, its own parameters, and the columns that have a meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

from qfbatch.job.settings import InputSettings
from qfbatch.prompts import prompter
from qfbatch.records import Row
from qfbatch.template import kind_of, missing_column, quoted

PARAMETERS = "parameters"  # the column with a row's own request parameters


class RowError(ValueError):
    """A row that cannot be used; the message is one sentence."""


def make_rows(
    settings: InputSettings, columns: Sequence[dict[str, Any]], source_file: str, numbers: Iterable[int]
) -> list[Row]:
    """The rows of one file with these columns.

    Args:
        settings: the job's input.
        columns: of each row.
        source_file: the file's name in results.
        numbers: `source_row` of each row.

    Raises:
        RowError: one has no usable id.
    """
    numbers = list(numbers)
    ids: list[Any]
    if settings.id is None:
        ids = [f"{source_file}:{number}" for number in numbers]
    else:
        ids = [row.get(settings.id) for row in columns]
        if not all(ids) or set(map(type, ids)) != {str}:
            ids = [id_of(row, settings.id) for row in columns]
    return list(map(Row, ids, repeat(source_file), numbers, columns))


def id_of(columns: Mapping[str, Any], name: str) -> str:
    """A row's id: the text, or the whole number as text, in its id column.

    Raises:
        RowError: there is none, or it is neither.
    """
    value = columns.get(name)
    if type(value) is str and value:
        return value
    if type(value) is int:
        return str(value)
    if name not in columns:
        raise RowError(f"id: {missing_column(name, columns)}")
    what = "empty text" if value == "" else "a fraction" if isinstance(value, float) else kind_of(value)
    raise RowError(f"id: column {quoted(name)} must hold text or a whole number, not {what}")


def row_parameters(columns: Mapping[str, Any]) -> dict[str, Any]:
    """A row's own request parameters; they win over the job's and the model's.

    A null counts as not given: that is how a Parquet struct says that a row leaves a field out.

    Raises:
        RowError: the `parameters` column holds something else than an object.
    """
    value = columns.get(PARAMETERS)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowError(f"column {PARAMETERS!r} must hold an object or null, not {kind_of(value)}")
    return {name: given for name, given in value.items() if given is not None}


def not_carried(settings: InputSettings) -> tuple[str, ...]:
    """The columns carried only when asked for by name: they stand in the results under other names."""
    named = (settings.prompt, settings.messages, settings.id, PARAMETERS)
    return tuple(name for name in named if name is not None)


def required_columns(settings: InputSettings) -> tuple[str, ...]:
    """The columns without which no row can be asked or named: the prompt's and the id."""
    fields = prompter(settings).fields
    return fields if settings.id is None else (*fields, settings.id)
