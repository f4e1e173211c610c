"""`qfbatch export` to Parquet, where a run's parts become one file without being decoded."""

from __future__ import annotations

import io
import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from polars.testing import assert_frame_equal
from report_runs import TOPIC, failed, succeeded, write_run

from qfbatch.checkpoint import part_copy
from qfbatch.checkpoint.compact import Struct, read_struct
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.results import scan_results
from qfbatch.cli.main import main
from qfbatch.schema import results_schema

MODELS = ("yi-34b", "pythia-6.9b")
ANSWERS = [
    failed(n, model, error_message=f"无响应 {n}")
    if n % 5 == 3
    else succeeded(n, model, result=f"answer {n}\n")
    for model in MODELS
    for n in range(40)
]


def export(*arguments: str | Path) -> Result:
    """The command's outcome, its exceptions let through."""
    return CliRunner().invoke(main, ["export", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two models with ten parts each, whose dictionaries differ."""
    return write_run(tmp_path / "eval", ANSWERS, rows=40, models=MODELS)


def exported(run: Path) -> Path:
    """The run as one Parquet file; two readers, of which one verifies checksums, find what is committed."""
    path = run.parent / "out.parquet"
    assert export(run, path, "--force").exit_code == 0
    results = scan_results(RunLayout(run)).collect()
    assert_frame_equal(results, pl.read_parquet(path))
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        assert_frame_equal(results, pl.DataFrame(pl.from_arrow(file.read())))
    return path


def part_of(run: Path, number: int) -> Path:
    """A part of the run's first model."""
    return RunLayout(run).part(MODELS[0], number)


def test_pages_are_taken_over_as_they_are(run: Path) -> None:
    """A prompt is neither decompressed nor compressed again: its pages stand in the export byte for byte."""
    content = exported(run).read_bytes()
    for number in range(10):
        part = part_of(run, number).read_bytes()
        column = pq.read_metadata(pa.BufferReader(part)).row_group(0).column(6)
        assert column.path_in_schema == "prompt"
        start = column.data_page_offset
        assert part[start : start + column.total_compressed_size] in content


def test_the_file_is_described_as_any_other(run: Path) -> None:
    """Schema, keys and counts are those of the same rows written by a Parquet writer."""
    written = io.BytesIO()
    scan_results(RunLayout(run)).collect().write_parquet(written)
    theirs, ours = pq.read_metadata(pa.BufferReader(written.getvalue())), pq.read_metadata(exported(run))
    assert theirs.schema.equals(ours.schema)
    assert (theirs.metadata, theirs.num_rows) == (ours.metadata, ours.num_rows)
    group = ours.row_group(0)
    columns = [group.column(number) for number in range(ours.num_columns)]
    assert [group.num_rows] * len(columns) == [column.num_values for column in columns]
    assert group.total_byte_size == sum(column.total_uncompressed_size for column in columns)
    model = columns[ours.schema.names.index("model")].statistics  # by it a reader passes over other models
    assert (model.min, model.max) == tuple(sorted(MODELS))


def test_parts_make_row_groups_of_a_readers_size(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts make a row group, by rows or bytes, in order, however many groups there are."""
    monkeypatch.setattr(part_copy, "GROUP_ROWS", 12)
    assert [12, 12, 12, 12, 12, 12, 8] == _group_rows(exported(run))
    monkeypatch.setattr(part_copy, "GROUP_BYTES", 1)
    assert [4] * 20 == _group_rows(exported(run))


def _group_rows(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def test_shards_in_progress_stand_among_the_parts(run: Path) -> None:
    """Rows of which a journal has the only or the newer record are exported in their place."""
    write_run(run, [succeeded(n, result="newer") for n in (13, 30, 31)], rows=48, models=MODELS, close=False)
    write_run(run, [succeeded(44, result="new")], rows=48, models=MODELS, close=False)
    read = pl.read_parquet(exported(run))
    assert [14, 31, 32] == read.filter(result="newer")["source_row"].to_list()
    assert [45] == read.filter(result="new")["source_row"].to_list()


def test_only_some_models_parts(run: Path, tmp_path: Path) -> None:
    """A model's export holds its rows and no other's."""
    done = export(run, tmp_path / "one.parquet", "--model", MODELS[1])
    assert done.stderr == f"40 rows to {tmp_path / 'one.parquet'}\n"
    results = scan_results(RunLayout(run)).filter(model=MODELS[1]).collect()
    assert_frame_equal(results, pl.read_parquet(tmp_path / "one.parquet"))


def test_parts_that_cannot_be_taken_over_are_decoded(run: Path) -> None:
    """Parts of an older schema, of other writers' options, and empty ones are exported as well."""
    for number, options in (
        (1, {"row_group_size": 3, "write_page_checksum": True}),
        (2, {"compression": "snappy", "write_page_checksum": True}),
        (3, {"compression": "zstd"}),
        (4, {"compression": "zstd", "data_page_version": "2.0", "write_page_checksum": True}),
        (5, {"compression": "zstd", "write_page_index": True, "write_page_checksum": True}),
        (6, {"compression": "zstd", "data_page_size": 1, "write_batch_size": 1, "write_page_checksum": True}),
    ):
        pq.write_table(pq.read_table(part_of(run, number)), part_of(run, number), **options)
    older = pq.read_table(part_of(run, 7)).drop_columns(["discarded_cost", "extra"])
    pq.write_table(older, part_of(run, 7), compression="zstd", write_page_checksum=True)
    empty = results_schema([TOPIC]).empty_table()
    pq.write_table(empty, part_of(run, 8), compression="zstd", write_page_checksum=True)
    read = pl.read_parquet(exported(run))
    assert read.height == 76


def test_a_damaged_page_is_not_passed_on(run: Path, tmp_path: Path) -> None:
    """A byte that changed on the disk is refused with the part's name; no file is left."""
    part = part_of(run, 4)
    content = part.read_bytes()
    group = pq.read_metadata(part).row_group(0)
    for number in (0, 1, 6, 8, 36):  # with a dictionary and without
        column = group.column(number)
        at = column.data_page_offset + column.total_compressed_size // 2 + 12
        part.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        result = export(run, tmp_path / "out.parquet")
        assert result.exit_code == 4
        assert part.name in result.stderr
        assert "Nothing was exported. Parts are written whole" in result.stderr
    for size in (0, 5, len(content) // 2, len(content) - 1):
        part.write_bytes(content[:size])
        assert export(run, tmp_path / "out.parquet").exit_code == 4
    assert {"eval"} == set(os.listdir(tmp_path))  # noqa: PTH208 - names are wanted


def test_structs_read_back_as_written() -> None:
    """Numbers of any size and sign, texts and lists, short and long, survive the compact protocol."""
    numbers = [0, 1, -1, 63, 64, -64, -65, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]
    inner = [Struct().integer(1, number).end() for number in numbers]
    written = (
        Struct()
        .enum(1, -7)
        .integer(3, 2**40)
        .texts(4, ["", "无响应", "x" * 300])
        .enums(8, range(20))
        .structs(9, inner)
        .struct(15, inner[-1])
        .end()
    )
    assert read_struct(b"before" + written + b"after", 6) == (
        {
            1: -7,
            3: 2**40,
            4: [b"", "无响应".encode(), b"x" * 300],
            8: list(range(20)),
            9: [{1: number} for number in numbers],
            15: {1: -(2**63)},
        },
        6 + len(written),
    )
