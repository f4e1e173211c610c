"""`qfbatch export`: a run's results as one file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import click
import polars as pl

from qfbatch.checkpoint.files import replace_file
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.place import RunPlace
from qfbatch.checkpoint.results import scan_results
from qfbatch.cli.target import Run, open_run
from qfbatch.errors import StorageError, UsageError
from qfbatch.records import Status
from qfbatch.reporting.report import json_columns
from qfbatch.schema import INPUT_PREFIX
from qfbatch.scoring.scored import with_scores
from qfbatch.wording import count, things

STDOUT = "-"
COMPRESSION_LEVEL = 1  # as parts have it: three quarters of the time of the usual 3, a sixth more bytes
FORMATS = ("jsonl", "csv", "parquet")
_ISO = "%Y-%m-%dT%H:%M:%S.%6fZ"


@click.command("export")
@click.argument("run_dir")
@click.argument("file")
@click.option("--format", "form", type=click.Choice(FORMATS), help="What to write; by default as FILE ends.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only this model's rows; repeatable.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in Status]),
    help="Only such rows; repeatable.",
)
@click.option("--wide", is_flag=True, help="One row a prompt, with a column for each model's answer.")
@click.option("--scores", is_flag=True, help="With a column score_<name> for each of the job's scorers.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def command(
    run_dir: str,
    file: str,
    form: str | None,
    models: tuple[str, ...],
    statuses: tuple[str, ...],
    *,
    wide: bool,
    scores: bool,
    force: bool,
) -> None:
    """Write a run's results, joined with their input columns, to one file.

    RUN_DIR is a run directory or its job file. FILE ends in .jsonl, .csv or .parquet; - is standard output
    and needs --format. Rows come in the order of model, shard and source row; with --wide in that of the
    input.
    """
    form = form or _format_of(file)
    run = open_run(run_dir)
    answered = scan_results(run.layout)
    if models:
        _refuse_unknown(models, run)
        answered = answered.filter(pl.col("model").is_in(models))
    results = answered.filter(pl.col("status").is_in(statuses)) if statuses else answered
    if scores:
        results = _scored(results, run, wide=wide)
    if wide:
        results = side_by_side(results, models or run.models)
    content = partial(write, results, form)
    if file == STDOUT:
        rows = _to_stdout(content)
    else:
        rows = _to_file(content, _target(Path(file), run.layout, force=force))
    whole = results is answered or (scores and not statuses)
    _say(
        rows, file, ended=rows if whole else _height(answered), expected=run.rows * len(models or run.models)
    )


def _scored(results: pl.LazyFrame, run: Run, *, wide: bool) -> pl.LazyFrame:
    """The rows with their scores.

    Raises:
        UsageError: there is nothing that scores them, or no place for it.
    """
    if wide:
        raise UsageError("--wide has no place for scores", hint="Leave out --wide or --scores.")
    evaluation = run.evaluation()
    if not evaluation.scorers:
        own = "; own scorers need the job file, not the run directory" if evaluation.not_run else ""
        raise UsageError(
            f"{run.directory}: its job asks for no scores{own}",
            hint="Add `evaluation` to the job file, and name it.",
        )
    for name in evaluation.not_run:
        click.echo(f"scores: {name} was not run: own scorers need the job file", err=True)
    return with_scores(results, evaluation.scorers, json_columns=json_columns(run.manifest))


def side_by_side(results: pl.LazyFrame, models: Sequence[str]) -> pl.LazyFrame:
    """One row a prompt: its place, its input columns, and the answer of each model as `result_<model>`.

    An answer is null where the model has none, for whatever reason. Unlike the long form this is gathered in
    memory.
    """
    carried = [name for name in results.collect_schema().names() if name.startswith(INPUT_PREFIX)]
    answers = [
        pl.col("result").filter(pl.col("model") == model).first().alias(f"result_{model}") for model in models
    ]
    place = ["shard", "source_row"]
    asked = [pl.col(name).first() for name in ("source_file", "prompt", *carried)]
    rows = results.group_by("row_id", *place).agg(*asked, *answers).sort(place)
    return rows.select("row_id", "source_file", "source_row", "prompt", *carried, pl.col("^result_.*$"))


def _refuse_unknown(models: Sequence[str], run: Run) -> None:
    unknown = [model for model in models if model not in run.models]
    if unknown:
        raise UsageError(
            f"{run.directory} has no model {', '.join(unknown)}", hint=f"It has {', '.join(run.models)}."
        )


def write(results: pl.LazyFrame, form: str, file: IO[bytes]) -> int:
    """Write results to an open file, streamed; their number.

    Moments become ISO 8601 text in UTC where the format has none of its own; every other value stands as is.

    Args:
        results: rows of the results schema.
        form: one of `FORMATS`.
        file: open for binary writing.

    Raises:
        StorageError: reading or writing failed.
    """
    rows = 0

    def add(some: pl.DataFrame) -> pl.DataFrame:
        """Count rows as they go by."""
        nonlocal rows
        rows += some.height
        return some

    counted = results.map_batches(add, streamable=True)
    with _storage_errors():
        if form == "parquet":
            counted.sink_parquet(file, compression="zstd", compression_level=COMPRESSION_LEVEL)
        elif form == "csv":
            _with_iso_moments(counted).sink_csv(file)
        else:
            _with_iso_moments(counted).sink_ndjson(file)
    return rows


def _with_iso_moments(results: pl.LazyFrame) -> pl.LazyFrame:
    moments = [name for name, kind in results.collect_schema().items() if isinstance(kind, pl.Datetime)]
    # All are UTC; without saying so, text is made of them in two thirds of the time.
    texts = pl.col(moments).dt.replace_time_zone(None).dt.strftime(_ISO)
    return results.with_columns(texts) if moments else results


def _format_of(file: str) -> str:
    if file == STDOUT:
        raise UsageError(
            "standard output has no suffix to tell the format", hint=f"Add --format {FORMATS[0]}."
        )
    form = Path(file).suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise UsageError(
            f"{file}: its suffix does not tell the format",
            hint="Name a .jsonl, .csv or .parquet file, or add --format.",
        )
    return form


def _target(file: Path, place: RunPlace, *, force: bool) -> Path:
    """The file to write, symlinks followed.

    Raises:
        UsageError: it may not be written there.
    """
    path = file.resolve()
    if not path.parent.is_dir():
        raise UsageError(f"{file}: there is no folder {path.parent}", hint="Create it, or name another file.")
    layout = place if isinstance(place, RunLayout) else RunLayout(Path(str(place)))
    for own in (layout.results.resolve(), layout.journals.resolve()):
        if own in path.parents:
            raise UsageError(
                f"{file}: this folder is the run's own; a file there would be read as its results",
                hint="Name a file outside of the run directory.",
            )
    if path.exists() and not path.is_file():
        raise UsageError(f"{file}: not a regular file", hint="Name a file, or - for standard output.")
    if path.exists() and not force:
        raise UsageError(f"{file}: exists already", hint="Add --force to replace it, or name another file.")
    return path


def _to_file(content: Callable[[IO[bytes]], int], path: Path) -> int:
    rows = 0
    hint = "Make room or name another place."

    def write_content(file: IO[bytes]) -> None:
        nonlocal rows, hint
        try:
            rows = content(file)
        except StorageError as error:
            hint = error.hint  # of what was read, where another place does not help
            raise

    try:
        replace_file(path, write_content, long=True)
    except StorageError as error:
        raise StorageError(error.message, hint=f"Nothing was exported. {hint}".rstrip()) from error
    return rows


def _to_stdout(content: Callable[[IO[bytes]], int]) -> int:
    """By way of a temporary file: what is printed is whole, and Parquet can be piped too."""
    with tempfile.TemporaryFile() as file:
        rows = content(file)
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout.buffer)
    return rows


def _say(rows: int, file: str, *, ended: int, expected: int) -> None:
    """How much that was, on stderr, and that not all is answered where it is not."""
    place = "standard output" if file == STDOUT else file
    partial_run = f" (PARTIAL: the run has {count(expected)} to answer)" if ended < expected else ""
    click.echo(f"{things(rows, 'row')} to {place}{partial_run}", err=True)


def _height(frame: pl.LazyFrame) -> int:
    with _storage_errors():
        return int(frame.select(pl.len()).collect(engine="streaming").item())


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, FileNotFoundError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StorageError(
            f"the results cannot be read or written: {reason}",
            hint="Run the same command again; if it fails again, check that disk.",
        ) from error
