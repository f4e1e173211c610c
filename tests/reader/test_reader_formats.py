"""The formats: one input, whatever it is written in."""

from __future__ import annotations

import datetime as dt
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from qfbatch.reader import survey
from qfbatch.records import InputColumn, Row

from .inputs import ROWS, jsonl, read_all, refused, settings, write

SUFFIXES = ("jsonl", "ndjson", "jsonl.gz", "ndjson.gz", "jsonl.zst", "ndjson.zst", "parquet", "JSONL")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shard_rows", [1, 2, 1000])
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str, shard_rows: int) -> None:
    """The format is packaging: ids, columns, kinds and estimates don't depend on it."""
    file = tmp_path / f"in.{suffix}"
    write(file, ROWS)
    job = settings(file, shard_rows=shard_rows)
    assert read_all(job) == [
        Row(row["id"], str(file), number, row) for number, row in enumerate(ROWS, start=1)
    ]
    found = survey(job)
    assert found.columns == (
        InputColumn("n", "int64"),
        InputColumn("f", "float64"),
        InputColumn("b", "bool"),
        InputColumn("l", "json"),
        InputColumn("t", "string"),
    )
    assert (found.rows, found.estimated_prompt_tokens) == (3, 2 + 3 + 3)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + jsonl(ROWS),
        jsonl(ROWS).replace(b"}\n", b"}\r\n"),
        jsonl(ROWS).removesuffix(b"\n"),
        jsonl(ROWS).replace(b"{", b" \t{").replace(b"}\n", b"} \n"),
    ],
    ids=["byte order mark", "CRLF", "no last newline", "blanks around"],
)
@pytest.mark.parametrize("shard_rows", [1, 1000])
def test_what_editors_leave_behind(tmp_path: Path, text: bytes, shard_rows: int) -> None:
    """A byte order mark, CRLF, a missing last newline and blanks change nothing."""
    (tmp_path / "in.jsonl").write_bytes(text)
    job = settings(tmp_path / "in.jsonl", shard_rows=shard_rows)
    assert [row.columns for row in read_all(job)] == ROWS


@pytest.mark.parametrize("shard_rows", [1, 2, 1000])
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_blank_lines_are_counted_but_are_no_rows(tmp_path: Path, suffix: str, shard_rows: int) -> None:
    """`source_row` is the line an editor shows, also after blank lines."""
    file = tmp_path / f"in.{suffix}"
    text = b"\n\r\n" + jsonl(ROWS[:1]) + b"  \n" + jsonl(ROWS[1:]) + b"\n\n"
    file.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    rows = read_all(settings(file, shard_rows=shard_rows))
    assert [(row.row_id, row.source_row) for row in rows] == [("a", 3), ("b", 5), ("c", 6)]


def test_compressed_parts_one_after_the_other(tmp_path: Path) -> None:
    """Files made by appending compressed files, padded or with skippable frames, are read to their end."""
    first, rest = jsonl(ROWS[:1]), jsonl(ROWS[1:])
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(first) + gzip.compress(rest) + b"\0" * 512)
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    frames = zstandard.compress(first) + skippable + zstandard.compress(rest)
    (tmp_path / "in.jsonl.zst").write_bytes(frames)
    for name in ("in.jsonl.gz", "in.jsonl.zst"):
        assert [row.columns for row in read_all(settings(tmp_path / name))] == ROWS


@pytest.mark.parametrize(
    ("suffix", "compress"), [("jsonl.gz", gzip.compress), ("jsonl.zst", zstandard.compress)]
)
def test_damaged_compression(tmp_path: Path, suffix: str, compress: Any) -> None:
    """A file that is cut off anywhere is an error, not a shorter input; so is a damaged one."""
    file = tmp_path / f"in.{suffix}"
    whole = compress(jsonl([{**row, "id": f"{row['id']}{n}"} for n in range(100) for row in ROWS]))
    for length in (1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        cut_off = f"{file}: the compressed data is cut off\nCopy or compress the file again."
        assert cut_off == refused(settings(file))
    file.write_bytes(b"not compressed at all")
    assert refused(settings(file)).startswith(f"{file}: the compressed data is damaged (")


def test_parquet_values_become_json_values(tmp_path: Path) -> None:
    """Every Parquet type has one JSON form, nested ones included; null stays null."""
    utc = dt.UTC
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=utc)
    columns: dict[str, tuple[pa.DataType, Any, Any]] = {
        "timestamp": (pa.timestamp("us"), moment.replace(tzinfo=None), "2024-01-02T03:04:05.000006"),
        "zoned": (pa.timestamp("ms", "Asia/Shanghai"), 1704164645000, "2024-01-02T03:04:05.000Z"),
        "nanoseconds": (pa.timestamp("ns", "UTC"), 1, "1970-01-01T00:00:00.000000001Z"),
        "date": (pa.date32(), dt.date(2024, 1, 2), "2024-01-02"),
        "time": (pa.time64("ns"), 1, "00:00:00.000000001"),
        "duration": (pa.duration("ms"), 1500, "PT1.500S"),
        "decimal": (pa.decimal128(10, 2), Decimal("1.50"), "1.50"),
        "binary": (pa.binary(), b"\xff\0", "/wA="),
        "fixed": (pa.binary(2), b"ab", "YWI="),
        "dictionary": (pa.dictionary(pa.int8(), pa.string()), "x", "x"),
        "large": (pa.large_string(), "x", "x"),
        "list": (pa.list_(pa.date32()), [dt.date(2024, 1, 2), None], ["2024-01-02", None]),
        "fixed_list": (pa.list_(pa.int8(), 2), [1, 2], [1, 2]),
        "struct": (
            pa.struct({"a": pa.int8(), "b": pa.list_(pa.decimal128(3, 1))}),
            {"a": 1, "b": [Decimal("1.5")]},
            {"a": 1, "b": ["1.5"]},
        ),
        "map": (pa.map_(pa.int8(), pa.bool_()), [(1, True), (2, None)], {"1": True, "2": None}),
        "nan": (pa.float64(), float("nan"), None),
        "infinity": (pa.float32(), float("inf"), None),
        "half": (pa.float16(), 1.5, 1.5),
        "unsigned": (pa.uint64(), 2**64 - 1, 2**64 - 1),
        "null": (pa.null(), None, None),
    }
    names = list(columns)
    table = pa.table(
        {
            "prompt": ["p", "q", "r"],
            **{name: pa.array([None, value, value], kind) for name, (kind, value, _) in columns.items()},
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    job = settings(tmp_path / "in.parquet", id=None, shard_rows=2)
    nothing, *rows = read_all(job)
    assert nothing.columns == {"prompt": "p", **dict.fromkeys(names)}
    expected = {name: value for name, (_, _, value) in columns.items()}
    assert [row.columns for row in rows] == [{"prompt": "q", **expected}, {"prompt": "r", **expected}]
    kinds = {
        **dict.fromkeys(names, "string"),
        **dict.fromkeys(("list", "fixed_list", "struct", "map", "unsigned"), "json"),
        "half": "float64",
    }
    assert survey(job).columns == tuple(InputColumn(name, kinds[name]) for name in names)


def test_damaged_parquet(tmp_path: Path) -> None:
    """A file that is no Parquet, or is damaged inside, is refused with what the format's library says."""
    file = tmp_path / "in.parquet"
    file.write_bytes(b"PAR1 and nothing more")
    assert refused(settings(file)).startswith(f"{file}: cannot be read as Parquet: ")
    write(file, [{"id": str(n), "prompt": f"p{n}"} for n in range(1000)])
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    assert refused(settings(file)).startswith(f"{file}: cannot be read as Parquet: ")
    file.write_bytes(whole[:20] + b"\xff" * 200 + whole[220:])
    assert refused(settings(file)).startswith(f"{file}: cannot be read as Parquet: ")


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    """The row with the bad text is named."""
    raw = pa.array([b"fine", b"\xff"], pa.binary())
    bad = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    pq.write_table(pa.table({"id": ["a", "b"], "prompt": bad}), tmp_path / "in.parquet")
    expected = f"{tmp_path / 'in.parquet'}:2: holds text that is not UTF-8"
    assert expected == refused(settings(tmp_path / "in.parquet"))


def test_parquet_with_a_name_twice(tmp_path: Path) -> None:
    """Two columns of one name can't both be meant."""
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"])
    pq.write_table(table, tmp_path / "in.parquet")
    expected = f"{tmp_path / 'in.parquet'}: has two columns named 'prompt'"
    assert expected == refused(settings(tmp_path / "in.parquet"))


def test_parquet_reads_only_what_is_needed(tmp_path: Path) -> None:
    """Columns that are neither asked, named nor carried stay on the disk, also beside dotted names."""
    row = {"id": 7, "prompt": "p", "t.u": "v", "t": {"u": "w"}, "more": "x"}
    write(tmp_path / "in.parquet", [row])
    rows = read_all(settings(tmp_path / "in.parquet", columns=("t.u",)))
    assert rows == [Row("7", str(tmp_path / "in.parquet"), 1, {"id": 7, "prompt": "p", "t.u": "v"})]
