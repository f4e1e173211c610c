"""Parts: a closed shard of one model as one Parquet file, with its totals in the footer.

A part exists whole or not at all (`files.replace_file`), so one that can't be read means a sick disk or
another hand: that is refused, never worked around. Pages carry checksums, and reading here verifies them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from qfbatch.checkpoint.files import replace_file
from qfbatch.checkpoint.fitting import fitting
from qfbatch.checkpoint.journal import storable
from qfbatch.errors import RunDirectoryError, StorageError
from qfbatch.records import Dropped, InputColumn, Record, Status
from qfbatch.schema import SCHEMA_VERSION, results_schema, to_table
from qfbatch.tally import added
from qfbatch.wording import things

FOOTER_KEY = b"qfbatch_part"

# Dictionaries and statistics pay where values repeat or are sorted; on prompts and answers they only cost.
_REPEATED = [
    "model",
    "endpoint",
    "source_file",
    "status",
    "parameters",
    "error_kind",
    "error_message",
    "currency",
]
_WITH_STATISTICS = ["source_row"]


class PartSummary(msgspec.Struct, frozen=True):
    """Totals over the latest record of every row of a shard; what a status needs without reading rows.

    Attributes:
        rows: succeeded + failed + skipped.
        prompt_tokens, completion_tokens, total_tokens: sums of what was counted.
        discarded_tokens: known to be paid for answers that had to be dropped.
        cost: by currency; rows without a price are in none.
        discarded_cost: of the discarded tokens, likewise; not part of `cost`.
    """

    rows: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    discarded_tokens: int = 0
    cost: dict[str, float] = msgspec.field(default_factory=dict)
    discarded_cost: dict[str, float] = msgspec.field(default_factory=dict)

    def __add__(self, other: PartSummary) -> PartSummary:
        return PartSummary(
            self.rows + other.rows,
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            self.discarded_tokens + other.discarded_tokens,
            added(self.cost, other.cost),
            added(self.discarded_cost, other.discarded_cost),
        )


class PartFooter(msgspec.Struct, frozen=True):
    """A part's own key in its footer: whose rows it holds, and their totals."""

    run_id: str
    model: str
    shard: int
    summary: PartSummary
    schema_version: int = SCHEMA_VERSION


_decode_footer = msgspec.json.Decoder(PartFooter).decode


def summarise(table: pa.Table) -> PartSummary:
    """The totals of a table of results, one row per input row."""
    statuses = table["status"].to_pylist()
    sums = {
        name: sum(filter(None, table[name].to_pylist()))
        for name in ("prompt_tokens", "completion_tokens", "total_tokens", "discarded_tokens")
    }
    return PartSummary(
        rows=len(statuses),
        succeeded=statuses.count("succeeded"),
        failed=statuses.count("failed"),
        skipped=statuses.count("skipped"),
        cost=_amounts(table, "cost"),
        discarded_cost=_amounts(table, "discarded_cost"),
        **sums,
    )


def _amounts(table: pa.Table, column: str) -> dict[str, float]:
    """A column of amounts summed by currency."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    if table[column].null_count < table.num_rows:
        for currency, amount in zip(table["currency"].to_pylist(), table[column].to_pylist(), strict=True):
            if amount is not None:
                found[currency or ""].append(amount)
    return {currency: math.fsum(values) for currency, values in sorted(found.items())}


def merge_rows(
    part: pa.Table | None, records: Sequence[Record], input_columns: Sequence[InputColumn] = ()
) -> pa.Table:
    """The latest record of every row, in source order: a part's rows, overruled by a journal's.

    Args:
        part: rows of the shard's part; None where there is none.
        records: the journal's records, in journal order.
        input_columns: the run's carried columns; they decide the schema, which `part` is brought to.
    """
    newer = {record.row_id: record for record in records}
    rows = sorted(newer.values(), key=attrgetter("source_row"))
    table = _fitting_table(rows, input_columns)
    if part is None or not part.num_rows:
        return table
    older = {row_id: position for position, row_id in enumerate(part["row_id"].to_pylist())}
    kept = part.take(pa.array([p for row_id, p in older.items() if row_id not in newer], type=pa.int64()))
    both = pa.concat_tables([_conformed(kept, table.schema), table])
    places = both["source_row"].to_pylist()
    order = sorted(range(len(places)), key=places.__getitem__)
    return both.take(pa.array(order, type=pa.int64()))


def write_part(path: Path, table: pa.Table, *, run_id: str, model: str, shard: int) -> PartSummary:
    """Write a shard's rows as its part, whole or not at all, over an older one if there is one.

    Args:
        path: the part.
        table: its rows, in source order.
        run_id: the run's.
        model: whose answers they are.
        shard: its number.

    Raises:
        StorageError: it could not be written; an older part stands.
    """
    summary = summarise(table)
    footer = PartFooter(run_id, model, shard, summary)
    replace_file(path, _encoded(table, footer), points="part")
    return summary


def encode_part(table: pa.Table, *, run_id: str, model: str, shard: int) -> tuple[bytes, PartSummary]:
    """A shard's rows as the content of its part, and their totals; arguments as of `write_part`."""
    summary = summarise(table)
    return _encoded(table, PartFooter(run_id, model, shard, summary)), summary


def decode_part(content: bytes, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows in a part's content, checksums verified.

    Args:
        content: of the part.
        name: of the part, for messages.
        columns: only these; all by default.

    Raises:
        StorageError: it is damaged, truncated, or no part.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as part:
            return part.read(None if columns is None else list(columns), use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(name, error) from error


def decode_part_footer(content: bytes, name: str) -> PartFooter:
    """Whose rows a part's content holds and their totals.

    Raises:
        StorageError: it is damaged, truncated, or no part.
    """
    try:
        return _decode_footer(pq.read_metadata(pa.BufferReader(content)).metadata[FOOTER_KEY])
    except (OSError, pa.ArrowException, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise _unreadable(name, error) from error


def dropped_by_failures(table: pa.Table) -> dict[str, Dropped]:
    """What failed rows had to drop, by row_id, where it was anything."""
    return {
        # The cost is missing in parts of qfbatch before 0.2.
        row["row_id"]: Dropped(row["discarded_tokens"], row.get("discarded_cost"), row["currency"])
        for row in table.to_pylist()
        if row["status"] == Status.FAILED and row["discarded_tokens"]
    }


def merge_tables(tables: Sequence[pa.Table], input_columns: Sequence[InputColumn] = ()) -> pa.Table:
    """The latest record of every row, in source order: of a row in several tables the last one's."""
    schema = results_schema(input_columns)
    rows = pa.concat_tables([schema.empty_table(), *(_conformed(table, schema) for table in tables)])
    latest = {row_id: position for position, row_id in enumerate(rows["row_id"].to_pylist())}
    places = rows["source_row"].to_pylist()
    order = sorted(latest.values(), key=places.__getitem__)
    return rows.take(pa.array(order, type=pa.int64()))


def _encoded(table: pa.Table, footer: PartFooter) -> bytes:
    """A part's content.

    Into Arrow's own memory first: writing to a file object of Python takes the interpreter's lock, and so the
    event loop's time, once a page of every column.
    """
    file = pa.BufferOutputStream()
    with pq.ParquetWriter(
        file,
        table.schema,
        compression="zstd",
        use_dictionary=_REPEATED,
        write_statistics=_WITH_STATISTICS,
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({FOOTER_KEY: msgspec.json.encode(footer)})
    content: bytes = file.getvalue().to_pybytes()
    return content


def read_part_footer(path: Path) -> PartFooter:
    """Whose rows a part holds and their totals, from its footer alone.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it is damaged, truncated, or no part.
        RunDirectoryError: a newer qfbatch wrote it.
    """
    try:
        with pa.OSFile(str(path)) as file:
            metadata = pq.read_metadata(file)
        footer = _decode_footer((metadata.metadata or {})[FOOTER_KEY])
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, KeyError, msgspec.MsgspecError) as error:
        raise _unreadable(path, error) from error
    if footer.schema_version > SCHEMA_VERSION:
        raise RunDirectoryError(
            f"{path}: written by a newer qfbatch (results schema {footer.schema_version}).",
            hint="Upgrade qfbatch, or give this job another output.path.",
        )
    if footer.summary.rows != metadata.num_rows:
        raise _unreadable(
            path,
            ValueError(f"{things(metadata.num_rows, 'row')}, but its footer counts {footer.summary.rows}"),
        )
    return footer


def read_part_summary(path: Path) -> PartSummary:
    """A part's totals, from its footer alone; raises as `read_part_footer` does."""
    return read_part_footer(path).summary


def read_part_rows(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A part's rows, checksums verified.

    Args:
        path: the part.
        columns: only these; all by default.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it is damaged, truncated, or no part.
    """
    try:
        with pa.OSFile(str(path)) as file, pq.ParquetFile(file, page_checksum_verification=True) as part:
            return part.read(None if columns is None else list(columns), use_threads=False)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def find_part_rows(path: Path, columns: Sequence[str] | None = None) -> pa.Table | None:
    """A part's rows as by `read_part_rows`; None where there is no part."""
    try:
        return read_part_rows(path, columns)
    except FileNotFoundError:
        return None


def _fitting_table(records: Sequence[Record], input_columns: Sequence[InputColumn]) -> pa.Table:
    """`to_table`; where a value doesn't fit its column, null stands there: every shard can be closed.

    Half characters, which no column holds, are U+FFFD there as they are in journals.
    """
    try:
        return to_table(records, input_columns)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return to_table([fitting(storable(record), input_columns) for record in records], input_columns)


def _conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """An older part's rows under the present schema: carried columns may have come, gone or changed type."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table[field.name]
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except pa.ArrowException:
                column = pa.nulls(table.num_rows, field.type)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _unreadable(path: Path | str, error: Exception) -> StorageError:
    reason = " ".join(str(error).split())[:300]
    return StorageError(
        f"{path}: damaged, or no part of this run: {reason}",
        hint="Parts are written whole, so this is trouble with the disk or another hand. Check the disk, "
        "move this file away, and run the same command again: the rows it held are asked again.",
    )


__all__ = [
    "FOOTER_KEY",
    "PartFooter",
    "PartSummary",
    "decode_part",
    "decode_part_footer",
    "dropped_by_failures",
    "encode_part",
    "find_part_rows",
    "merge_rows",
    "merge_tables",
    "read_part_footer",
    "read_part_rows",
    "read_part_summary",
    "summarise",
    "write_part",
]
