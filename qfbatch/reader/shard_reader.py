"""The rows of a shard, read when their turn comes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Self

from qfbatch.errors import InputError
from qfbatch.job.settings import InputSettings
from qfbatch.reader.blocks import RowStream
from qfbatch.reader.bytestream import PIECE_BYTES
from qfbatch.reader.changes import is_same
from qfbatch.reader.columnar import parquet_rows
from qfbatch.reader.files import Format, InputFile, format_of
from qfbatch.reader.jsonl import JsonlRows
from qfbatch.reader.rows import PARAMETERS, RowError, make_rows, required_columns
from qfbatch.records import Row, Shard, SourceFile

_LEAST_PIECE_BYTES = 32 * 1024
_OPEN_STREAMS = 8  # threads that read one file at a time without opening it again and again
_CHANGED = "changed while the run was using it"
_HINT = "Put the file back as it was, or start the same command again: it looks at the input anew."


class ShardReader:
    """Reads shards, in any order and from any thread; fastest in theirs.

    A shard of plain JSONL is found by its offset. Compressed files and row groups can only be read from
    their start, so the streams that were read last stay open and go on where the next shard begins.
    A context manager.

    Args:
        settings: the job's input.
    """

    def __init__(self, settings: InputSettings) -> None:
        self._settings = settings
        self._columns = _columns_read(settings)
        self._lock = threading.Lock()
        self._streams: list[tuple[str, RowStream]] = []  # the one used last at the end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes what is open; reading on opens it again."""
        with self._lock:
            streams, self._streams = self._streams, []
        for _, stream in streams:
            stream.close()

    def read(self, file: SourceFile, shard: Shard) -> list[Row]:
        """Exactly the rows of a shard, in order.

        A row's columns are all of its line, or the ones that are needed of a Parquet file.

        Raises:
            InputError: the file is not what the survey saw.
        """
        if not is_same(file, file.path, self._settings.access):
            raise InputError(_CHANGED, source_file=file.name, hint=_HINT)
        try:
            numbers, columns = self._take(file, shard)
            rows = make_rows(self._settings, columns, file.name, numbers)
        except RowError as error:
            raise InputError(f"{_CHANGED} ({error})", source_file=file.name, hint=_HINT) from error
        except InputError as error:
            raise InputError(f"{_CHANGED} ({error.message})", source_file=file.name, hint=_HINT) from error
        if len(rows) != shard.rows or rows[0].source_row != shard.first_row:
            raise InputError(_CHANGED, source_file=file.name, hint=_HINT)
        return rows

    def _take(self, file: SourceFile, shard: Shard) -> tuple[Sequence[int], list[dict[str, Any]]]:
        start = shard.offset if format_of(file.name) is Format.PARQUET else shard.first_row
        stream = self._borrow(file.path, start) or self._open(file, shard)
        try:
            taken = stream.take(start, shard.rows)
        except BaseException:
            stream.close()
            raise
        self._give_back(file, stream)
        return taken

    def _open(self, file: SourceFile, shard: Shard) -> RowStream:
        access = self._settings.access
        match format_of(file.name):
            case None:
                raise InputError("is not of a supported kind", source_file=file.name)
            case Format.PARQUET:
                source = InputFile(file.name, file.path, Format.PARQUET, file.size, access)
                return parquet_rows(source, shard.offset, self._columns)
            case Format.JSONL:
                source = InputFile(file.name, file.path, Format.JSONL, file.size, access)
                return JsonlRows(
                    source, first=shard.first_row, offset=shard.offset, size=_bytes_at_once(file, shard)
                )
            case compressed:
                return JsonlRows(InputFile(file.name, file.path, compressed, file.size, access))

    def _borrow(self, path: str, start: int) -> RowStream | None:
        """Takes the open stream that is nearest before `start` away from the others."""
        with self._lock:
            fitting = [entry for entry in self._streams if entry[0] == path and entry[1].can_reach(start)]
            if not fitting:
                return None
            nearest = max(fitting, key=lambda entry: entry[1].position)
            self._streams.remove(nearest)
            return nearest[1]

    def _give_back(self, file: SourceFile, stream: RowStream) -> None:
        if format_of(file.name) is Format.JSONL:  # found by offset: there is nothing to go on with
            stream.close()
            return
        with self._lock:
            self._streams.append((file.path, stream))
            oldest = self._streams.pop(0)[1] if len(self._streams) > _OPEN_STREAMS else None
        if oldest:
            oldest.close()


def read_shard(settings: InputSettings, file: SourceFile, shard: Shard) -> list[Row]:
    """Reads one shard; for several of them `ShardReader` is faster."""
    with ShardReader(settings) as reader:
        return reader.read(file, shard)


def _bytes_at_once(file: SourceFile, shard: Shard) -> int:
    """About a shard's bytes: of a larger piece, all lines after the shard's would be cut for nothing."""
    expected = shard.rows * file.size // file.rows
    return min(PIECE_BYTES, max(_LEAST_PIECE_BYTES, expected + expected // 8))


def _columns_read(settings: InputSettings) -> tuple[str, ...] | None:
    if settings.columns is None:
        return None
    return (*required_columns(settings), PARAMETERS, *settings.columns)
