"""Parts: merging, totals, refusal of damage."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.checkpoint.parts import (
    PartSummary,
    find_part_rows,
    merge_rows,
    read_part_footer,
    read_part_rows,
    read_part_summary,
    summarise,
    write_part,
)
from qfbatch.errors import RunDirectoryError, StorageError
from qfbatch.records import InputColumn, Record, Status
from qfbatch.schema import SCHEMA_VERSION, results_schema, to_table

from .rows import COLUMNS, as_dict, record, totals

STEPS = st.lists(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 3)), max_size=10), min_size=1, max_size=4
)


def put(path: Path, records: list[Record]) -> PartSummary:
    """A part of these records."""
    table = merge_rows(None, records, COLUMNS)
    return write_part(path, table, run_id="run-1", model="m", shard=0)


@given(STEPS)
@settings(max_examples=30, deadline=None)
def test_merging_is_latest_wins(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[tuple[int, int]]]
) -> None:
    """Journals merged one after the other give every row's last record, in source order, with its totals."""
    path = tmp_path_factory.mktemp("part") / "part.parquet"
    oracle: dict[int, Record] = {}
    for step in steps:
        records = [record(number, take=take) for number, take in step]
        oracle |= {r.source_row: r for r in records}
        expected = [oracle[row] for row in sorted(oracle)]
        for _ in range(2):  # the second time as after a crash between rename and unlink
            table = merge_rows(find_part_rows(path), records, COLUMNS)
            summary = write_part(path, table, run_id="run-1", model="m", shard=0)
            assert read_part_rows(path).to_pylist() == to_table(expected, COLUMNS).to_pylist()
            assert as_dict(summary) == totals(expected)
            assert read_part_summary(path) == summary == summarise(read_part_rows(path))


def test_footer_says_whose_rows_they_are(tmp_path: Path) -> None:
    """Run, model, shard and schema version stand in the footer."""
    put(tmp_path / "p", [record(1)])
    footer = read_part_footer(tmp_path / "p")
    assert (footer.run_id, footer.model, footer.shard, footer.schema_version) == (
        "run-1",
        "m",
        0,
        SCHEMA_VERSION,
    )


def test_polars_reads_parts_with_the_schema(tmp_path: Path) -> None:
    """A part is plain Parquet with the columns of the reference, all-null ones typed too."""
    put(tmp_path / "p", [record(n) for n in range(3)])
    frame = pl.read_parquet(tmp_path / "p")
    assert frame.columns == results_schema(COLUMNS).names
    assert frame.schema["error_code"] == pl.Int32
    assert frame["input_score"].to_list() == [0, 1, 2]


def test_totals_add_up() -> None:
    """Totals of shards are added field by field, costs by currency."""
    one = PartSummary(3, 1, 1, 1, 10, 20, 30, 5, {"CNY": 1.0})
    two = PartSummary(1, 1, 0, 0, 1, 2, 3, 0, {"USD": 2.0, "CNY": 0.5})
    assert one + two == PartSummary(4, 2, 1, 1, 11, 22, 33, 5, {"CNY": 1.5, "USD": 2.0})


@pytest.mark.parametrize("length", [0, 4, 100, -1, -9])
def test_truncated_part_is_refused_by_name(tmp_path: Path, length: int) -> None:
    """A part cut short anywhere is refused with its name and the next step."""
    path = tmp_path / "part-m-000000.parquet"
    put(path, [record(n) for n in range(20)])
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(StorageError, match=r"part-m-000000\.parquet") as refused:
        read_part_summary(path)
    assert "move this file away" in refused.value.hint


def test_flipped_bits_in_the_rows_are_noticed(tmp_path: Path) -> None:
    """Damage inside the pages is refused when rows are read, never merged on."""
    path = tmp_path / "part-m-000000.parquet"
    put(path, [record(n) for n in range(50)])
    rows = read_part_rows(path).to_pylist()
    content = path.read_bytes()
    noticed = 0
    for position in range(10, 2000, 97):
        damaged = bytearray(content)
        damaged[position] ^= 16
        path.write_bytes(damaged)
        try:
            assert read_part_rows(path).to_pylist() == rows
        except StorageError:
            noticed += 1
    assert noticed > 10


def test_other_parquet_files_are_refused(tmp_path: Path) -> None:
    """A Parquet file that qfbatch didn't write is no part."""
    pl.DataFrame({"row_id": ["a"]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(StorageError, match=r"x\.parquet"):
        read_part_footer(tmp_path / "x.parquet")


def test_newer_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a newer schema asks for an upgrade."""
    put(tmp_path / "p", [record(1)])
    monkeypatch.setattr("qfbatch.checkpoint.parts.SCHEMA_VERSION", SCHEMA_VERSION - 1)
    with pytest.raises(RunDirectoryError, match="newer qfbatch"):
        read_part_footer(tmp_path / "p")


def test_changed_carried_columns_are_brought_to_the_present_schema(tmp_path: Path) -> None:
    """Rows of an older part keep their answers when carried columns came, went or changed type."""
    put(tmp_path / "p", [record(1)])
    now = (InputColumn("score", "string"), InputColumn("new", "bool"))
    table = merge_rows(find_part_rows(tmp_path / "p"), [record(2, columns={"score": "x", "new": True})], now)
    assert table.schema == results_schema(now)
    assert table.select(["row_id", "input_score", "input_new"]).to_pylist() == [
        {"row_id": "row-1", "input_score": "1", "input_new": None},
        {"row_id": "row-2", "input_score": "x", "input_new": True},
    ]


def test_values_beyond_their_column_never_cost_the_answer() -> None:
    """A code of more than 32 bits or a text among numbers becomes null; the row beside it stands."""
    odd = record(3, error_code=2**40, ban_round=2**31, columns={"topic": 5, "score": "many"})
    table = merge_rows(None, [odd, record(1)], COLUMNS)
    assert table["row_id"].to_pylist() == ["row-1", "row-3"]
    last = table.to_pylist()[1]
    assert (last["error_code"], last["ban_round"], last["input_topic"], last["input_score"]) == (None,) * 4
    assert last["status"] == Status.FAILED
    assert last["error_message"] == odd.error_message


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, 0, 5]),
            st.sampled_from([None, "", "a", "你"]),
            st.sampled_from([None, 0.0, 2.5]),
        ),
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_columns_hold_what_the_records_say(rows: list[tuple[int | None, str | None, float | None]]) -> None:
    """Whether a column holds one value in all rows, nulls among others or none at all."""
    records = [
        record(n, created=number, result=text, latency_s=seconds, columns={"topic": text, "score": number})
        for n, (number, text, seconds) in enumerate(rows)
    ]
    table = to_table(records, COLUMNS)
    assert table.schema == results_schema(COLUMNS)
    moments = [None if n is None else datetime.fromtimestamp(n, UTC) for n, _, _ in rows]
    assert moments == table["created"].to_pylist()
    for name, values in {
        "result": [text for _, text, _ in rows],
        "input_topic": [text for _, text, _ in rows],
        "input_score": [number for number, _, _ in rows],
        "latency_s": [seconds for _, _, seconds in rows],
        "model": ["m"] * len(rows),
        "source_row": list(range(1, len(rows) + 1)),
    }.items():
        assert values == table[name].to_pylist()
    table.validate(full=True)
