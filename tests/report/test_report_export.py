"""`qfbatch export`: every row and column, in order, in three formats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from polars.testing import assert_frame_equal
from report_runs import TOPIC, failed, frame, succeeded, write_run

from qfbatch import schema
from qfbatch.cli.main import main

MODELS = ("yi-34b", "pythia-6.9b")
ROWS = [
    succeeded(5),
    succeeded(0, result='=1+1, "quoted"\nsecond line', created=1_780_000_000),
    failed(1, error_message="无响应"),
    *(succeeded(n, "pythia-6.9b", result="") for n in (4, 2)),
]
ORDERED = sorted(ROWS, key=lambda row: (row.model, row.shard, row.source_row))


def export(*arguments: str | Path) -> Result:
    """The command's outcome, its exceptions let through."""
    return CliRunner().invoke(main, ["export", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of six rows and two models with five rows answered."""
    return write_run(tmp_path / "eval", ROWS, rows=6, models=MODELS)


def test_parquet_is_the_results_whole(run: Path, tmp_path: Path) -> None:
    """Every column with its type, every row, by model, shard and source row."""
    result = export(run, tmp_path / "out.parquet")
    assert result.exit_code == 0
    assert_frame_equal(frame(ORDERED).collect(), pl.read_parquet(tmp_path / "out.parquet"))


def test_jsonl_has_an_object_a_row(run: Path, tmp_path: Path) -> None:
    """Values stand as they are, moments as ISO 8601, null as null."""
    assert export(run, tmp_path / "out.jsonl").exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    names = [column.name for column in schema.COLUMNS] + ["input_topic"]
    assert [names] * len(ROWS) == [list(line) for line in lines]
    assert [(row.row_id, row.model, row.result) for row in ORDERED] == [
        (line["row_id"], line["model"], line["result"]) for line in lines
    ]
    first = next(line for line in lines if line["row_id"] == "q1")
    assert first["started_at"] == "2026-05-28T20:26:40.000000Z"
    assert datetime(2026, 5, 28, 20, 26, 41, tzinfo=UTC) == datetime.fromisoformat(first["finished_at"])
    assert first["created"].startswith("2026-05-28T20:26:40")
    assert first["error_kind"] is None


def test_csv_parses_back(run: Path, tmp_path: Path) -> None:
    """Quotes, new lines, Chinese and what a spreadsheet would run come back unchanged; empty is not null."""
    assert export(run, tmp_path / "out.csv").exit_code == 0
    read = pl.read_csv(tmp_path / "out.csv")
    assert [row.result for row in ORDERED] == read["result"].to_list()
    assert [row.error_message for row in ORDERED] == read["error_message"].to_list()
    assert read.filter(row_id="q1")["finished_at"].item() == "2026-05-28T20:26:41.000000Z"


def test_a_partial_run_says_so_on_stderr(run: Path, tmp_path: Path) -> None:
    """What was written is counted, and that it is not all."""
    result = export(run, tmp_path / "out.csv")
    assert result.stdout == ""
    assert f"5 rows to {tmp_path / 'out.csv'} (PARTIAL: the run has 12 to answer)\n" == result.stderr


def test_a_run_without_a_row_exports_its_columns(tmp_path: Path) -> None:
    """An empty export is a valid file with the schema."""
    run = write_run(tmp_path / "eval", [], rows=6)
    assert export(run, tmp_path / "out.parquet").exit_code == 0
    assert frame([], [TOPIC]).collect_schema() == pl.read_parquet_schema(tmp_path / "out.parquet")


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_standard_output_gets_the_same_bytes(run: Path, tmp_path: Path, form: str) -> None:
    """Data alone on stdout, in any format, through a real pipe."""
    path = tmp_path / f"out.{form}"
    assert export(run, path).exit_code == 0
    done = subprocess.run(
        [sys.executable, "-m", "qfbatch", "export", str(run), "-", "--format", form],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert path.read_bytes() == done.stdout
    assert b"5 rows to standard output" in done.stderr


def test_an_existing_file_needs_force(run: Path, tmp_path: Path) -> None:
    """Nothing is overwritten unasked; with --force it is, and no temporary file stays."""
    path = tmp_path / "out.csv"
    path.write_text("mine")
    result = export(run, path)
    assert (result.exit_code, path.read_text()) == (2, "mine")
    assert "--force" in result.stderr
    assert export(run, path, "--force").exit_code == 0
    assert path.read_text(encoding="utf-8").startswith("row_id,model,")
    assert {"eval", "out.csv"} == set(os.listdir(tmp_path))  # noqa: PTH208 - names are wanted


def test_what_cannot_be_exported_is_a_usage_error(run: Path, tmp_path: Path) -> None:
    """Each wrong target is one message with the next step, exit code 2, and no file."""
    for file, words in (
        ("-", "Add --format jsonl."),
        (str(tmp_path / "out.xlsx"), "its suffix does not tell the format"),
        (str(tmp_path / "missing" / "out.csv"), "there is no folder"),
        (str(run / "results" / "out.parquet"), "this folder is the run's own"),
        (str(run / "journal" / "out.csv"), "this folder is the run's own"),
    ):
        result = export(run, file)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
    (tmp_path / "folder.csv").mkdir()
    assert "not a regular file" in export(run, tmp_path / "folder.csv", "--force").stderr
    assert "there is no such run directory" in export(tmp_path / "nowhere", tmp_path / "out.csv").stderr


def test_a_damaged_part_leaves_no_file(run: Path, tmp_path: Path) -> None:
    """An export that fails half-way is one message, exit code 4, and nothing half-written."""
    part = next((run / "results").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    result = export(run, tmp_path / "out.csv")
    assert result.exit_code == 4
    assert "the results cannot be read or written" in result.stderr
    assert {"eval"} == set(os.listdir(tmp_path))  # noqa: PTH208 - names are wanted


def test_rows_come_in_order_without_being_sorted(tmp_path: Path) -> None:
    """Closed shards and shards in progress stand in the order of their numbers, not of their state."""
    run = write_run(tmp_path / "eval", [succeeded(n) for n in (0, 1, 2, 3, 9, 8, 12)], rows=16)
    write_run(tmp_path / "eval", [succeeded(n) for n in (5, 4, 13)], rows=16, close=False)
    assert export(run, tmp_path / "out.csv").exit_code == 0
    assert [f"q{n + 1}" for n in (0, 1, 2, 3, 4, 5, 8, 9, 12, 13)] == pl.read_csv(tmp_path / "out.csv")[
        "row_id"
    ].to_list()


def test_only_some_rows(run: Path, tmp_path: Path) -> None:
    """A selection holds the rows of these models and statuses; a model that is not there is named."""
    assert export(run, tmp_path / "a.jsonl", "--model", "yi-34b", "--status", "failed").exit_code == 0
    assert pl.read_ndjson(tmp_path / "a.jsonl").select("model", "row_id").rows() == [("yi-34b", "q2")]
    done = export(run, tmp_path / "b.jsonl", "--model", "pythia-6.9b")
    assert done.stderr == f"2 rows to {tmp_path / 'b.jsonl'} (PARTIAL: the run has 6 to answer)\n"
    wrong = export(run, tmp_path / "c.jsonl", "--model", "yi")
    assert (wrong.exit_code, (tmp_path / "c.jsonl").exists()) == (2, False)
    assert "no model yi" in wrong.stderr
    assert "yi-34b, pythia-6.9b" in wrong.stderr


def test_answers_side_by_side(run: Path, tmp_path: Path) -> None:
    """With `--wide` a prompt is one row, in input order, with each model's answer; none is null."""
    assert export(run, tmp_path / "wide.parquet", "--wide").exit_code == 0
    read = pl.read_parquet(tmp_path / "wide.parquet")
    assert read.columns == [
        *("row_id", "source_file", "source_row", "prompt", "input_topic"),
        *("result_yi-34b", "result_pythia-6.9b"),
    ]
    assert read.select("row_id", "^result_.*$").rows() == [
        ("q1", '=1+1, "quoted"\nsecond line', None),
        ("q2", None, None),
        ("q3", None, ""),
        ("q5", None, ""),
        ("q6", "answer 5", None),
    ]
