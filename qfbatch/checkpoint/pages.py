"""Columns of Parquet files as the pages they are stored in: found, checked and put together without decoding.

The pages of a column that has no dictionary mean the same wherever they stand. So such columns of many parts
are one column of a larger file when their pages follow each other there; only the footer is written anew.
Field numbers are those of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from qfbatch.checkpoint.compact import Struct, field_ends, read_integer, read_struct

MAGIC = b"PAR1"
_TAIL = 8  # the footer's length and the magic number, at a file's end
_TYPES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
_ENCODINGS = {
    "PLAIN": 0,
    "PLAIN_DICTIONARY": 2,
    "RLE": 3,
    "BIT_PACKED": 4,
    "DELTA_BINARY_PACKED": 5,
    "DELTA_LENGTH_BYTE_ARRAY": 6,
    "DELTA_BYTE_ARRAY": 7,
    "RLE_DICTIONARY": 8,
    "BYTE_STREAM_SPLIT": 9,
}
_ZSTD = 6
# First bytes of what follows the schema in a footer: its rows, its row groups, the first one's columns.
_NEXT_I64, _NEXT_LIST, _ONE_STRUCT, _LONG = 0x16, 0x19, 0x1C, 15
# Fields of a page's header. Of the last two the first field counts values and the second is their encoding.
_UNPACKED, _STORED, _CHECKSUM, _DATA, _DICTIONARY = 2, 3, 4, 5, 7
_RLE = _ENCODINGS["RLE"]


@dataclass(frozen=True, slots=True)
class Pages:
    """A column's pages in one file.

    Attributes:
        data: the bytes, page headers included.
        size: as `data`, uncompressed.
        dictionary: bytes at the beginning that are a dictionary; 0 without one.
        encodings: of the pages, as the format numbers them.
        range: of texts the first and the last, by which a reader passes over row groups; None if not known.
    """

    data: memoryview
    size: int
    dictionary: int
    encodings: frozenset[int]
    range: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows of a file that is being written.

    Attributes:
        rows: how many.
        columns: of each column, in the schema's order, the pieces it is made of: one if it has a dictionary.
    """

    rows: int
    columns: Sequence[Sequence[Pages]]


class PageFinder:
    """Finds the columns' pages in parts that can be taken over into a file as they stand."""

    def __init__(self, schema: pq.ParquetSchema) -> None:
        """Begin.

        Args:
            schema: of the file the pages are to go to.
        """
        self._schema = schema
        self._known: set[bytes] = set()  # beginnings of footers, up to the schema, that say the same

    def find(self, content: bytes) -> tuple[int, list[Pages]] | None:
        """A part's rows, and its columns' pages where they can be taken over.

        That is where the columns are those of the schema, in one row group compressed by zstd, nothing lies
        between their pages, and each page has the checksum that its header names.

        Returns:
            None where they cannot be taken over, be it that the part is damaged: who decodes it will tell.
        """
        try:
            start = _footer_start(content)
            rows = self._rows(content, start) if start > 0 else None
            pages = _walk(content, start, rows, len(self._schema)) if rows is not None else None
        except (pa.ArrowException, OSError, IndexError, KeyError, TypeError, ValueError, struct.error):
            return None
        return None if rows is None or pages is None else (rows, pages)

    def _rows(self, content: bytes, start: int) -> int | None:
        """Rows in the one row group; the footer's columns are read where its schema is a new one only."""
        for known in self._known:
            if content.startswith(known, start):
                at = start + len(known)
                break
        else:
            if not pq.read_metadata(pa.BufferReader(content)).schema.equals(self._schema):
                return None
            at = field_ends(content, start)[2]
            self._known.add(content[start:at])
        if content[at] != _NEXT_I64:
            return None
        rows, at = read_integer(content, at + 1)
        if content[at] != _NEXT_LIST or content[at + 1] != _ONE_STRUCT or content[at + 2] != _NEXT_LIST:
            return None
        at += 3
        if content[at] >> 4 == _LONG:
            _, at = read_integer(content, at + 1)
        else:
            at += 1
        column, _ = read_struct(content, at)
        return rows if column[3][4] == _ZSTD else None


def _walk(content: bytes, footer_start: int, rows: int, columns: int) -> list[Pages] | None:
    """The columns' pages, one after the other from the file's beginning up to its footer."""
    view = memoryview(content)
    at = len(MAGIC)
    found = []
    for _ in range(columns):
        start, left, size, dictionary = at, rows, 0, 0
        encodings = {_RLE}  # of what says which values are null
        while left > 0:
            header, body = read_struct(content, at)
            end = body + header[_STORED]
            if zlib.crc32(view[body:end]) != header[_CHECKSUM] & 0xFFFFFFFF:
                return None
            size += header[_UNPACKED] + body - at
            data = header.get(_DATA)
            if data is not None:
                left -= data[1]
                encodings.add(data[2])
            else:  # a data page of another version is none that a part has
                encodings.add(header[_DICTIONARY][2])
                dictionary = end - start
            at = end
        found.append(Pages(view[start:at], size, dictionary, frozenset(encodings)))
    return found if at == footer_start else None


def encoded_pages(content: bytes) -> tuple[int, list[Pages]]:
    """Rows and columns of a file of one row group that was written just now, by its footer."""
    view = memoryview(content)
    metadata = pq.read_metadata(pa.BufferReader(content))
    group = metadata.row_group(0)
    found = []
    for number in range(metadata.num_columns):
        column = group.column(number)
        start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        found.append(
            Pages(
                view[start : start + column.total_compressed_size],
                column.total_uncompressed_size,
                column.data_page_offset - start,
                frozenset(_ENCODINGS[name] for name in column.encodings),
                _range(column),
            )
        )
    return int(metadata.num_rows), found


def _range(column: pq.ColumnChunkMetaData) -> tuple[bytes, bytes] | None:
    if column.physical_type != "BYTE_ARRAY" or not column.is_stats_set or not column.statistics.has_min_max:
        return None
    return column.statistics.min_raw, column.statistics.max_raw


def footer(template: bytes, groups: Sequence[tuple[int, bytes]]) -> bytes:
    """What ends a Parquet file.

    Args:
        template: a file without rows, of the same schema: its schema and keys are taken.
        groups: rows and description (`describe`) of each row group in the file.
    """
    start = _footer_start(template)
    old = template[start:-_TAIL]
    ends = field_ends(old, 0)
    new = Struct(old[: ends[2]], last=2)
    new.integer(3, sum(rows for rows, _ in groups))
    new.structs(4, [description for _, description in groups])
    whole = new.end(old[ends[4] :])
    return whole + struct.pack("<I", len(whole)) + MAGIC


def _footer_start(content: bytes) -> int:
    (size,) = struct.unpack_from("<I", content, len(content) - _TAIL)
    return len(content) - _TAIL - int(size)


def describe(group: RowGroup, at: int, schema: pq.ParquetSchema) -> bytes:
    """What a footer says of a row group whose first byte is the file's byte `at`."""
    columns, size = [], 0
    for number, pieces in enumerate(group.columns):
        column = schema.column(number)
        stored, unpacked = sum(len(pages.data) for pages in pieces), sum(pages.size for pages in pieces)
        encodings = frozenset[int]().union(*(pages.encodings for pages in pieces))
        dictionary = pieces[0].dictionary
        meta = Struct().enum(1, _TYPES.index(column.physical_type)).enums(2, sorted(encodings))
        meta.texts(3, [column.name]).enum(4, _ZSTD).integer(5, group.rows).integer(6, unpacked)
        meta.integer(7, stored).integer(9, at + dictionary)
        if dictionary:
            meta.integer(11, at)
        if pieces[0].range and len(pieces) == 1:
            first, last = pieces[0].range
            meta.struct(12, Struct().binary(5, last).binary(6, first).end())
        columns.append(Struct().integer(2, 0).struct(3, meta.end()).end())
        size += unpacked
        at += stored
    return Struct().structs(1, columns).integer(2, size).integer(3, group.rows).end()


__all__ = ["MAGIC", "PageFinder", "Pages", "RowGroup", "describe", "encoded_pages", "footer"]
