"""`qfbatch init`: a commented job file to start from."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import click
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from qfbatch.errors import InputError, UsageError
from qfbatch.job.starter import DEFAULT_API, starter
from qfbatch.reader.files import Format, format_of, unsupported_hint
from qfbatch.reader.jsonl import Lines, decode_block
from qfbatch.service.dialects import DIALECTS


@click.command()
@click.argument("data_file", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", default="job.yaml", show_default=True, help="File to write; - is stdout.")
@click.option(
    "--api",
    type=click.Choice(list(DIALECTS)),
    default=DEFAULT_API,
    show_default=True,
    help="What the service speaks.",
)
@click.option("--force", is_flag=True, help="Overwrite the file if there is one.")
def command(data_file: Path | None, output: str, api: str, *, force: bool) -> None:
    """Write a commented job file to start from.

    With DATA_FILE (.jsonl, .jsonl.gz, .jsonl.zst or .parquet) its first row fills in id and prompt.
    """
    if data_file is None:
        text = starter(api=api)
    else:
        name = data_file.name.split(".")[0]
        text = starter(name=name, path=data_file.as_posix(), row=first_row(data_file), api=api)
    if output == "-":
        click.echo(text, nl=False)
        return
    try:
        with Path(output).open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        hint = "Give --force to overwrite it, or --output for another file."
        raise UsageError(f"{output}: there is such a file already", hint=hint) from error
    except OSError as error:
        hint = "Give --output for another file."
        raise UsageError(f"{output}: cannot be written: {error.strerror}", hint=hint) from error
    missing = "the endpoint" if data_file is not None else "input.path and the endpoint"
    click.echo(f"wrote {output}; fill in {missing}, then: qfbatch check {output}", err=True)


def first_row(path: Path) -> Mapping[str, Any]:
    """The columns of a data file's first row.

    Raises:
        InputError: the file cannot be read, has no row, or is of a kind that is not supported.
    """
    form = format_of(path.name)
    if form is None:
        message = "this kind of file is not supported"
        raise InputError(message, source_file=str(path), hint=unsupported_hint(str(path)))
    try:
        if form is Format.PARQUET:
            return _first_of_parquet(path)
        with path.open("rb") as file:
            return _first_of_jsonl(path, form, file)
    except OSError as error:
        reason = error.strerror or "damaged"
        hint = "Check the name and the file's permissions."
        raise InputError(f"cannot be read: {reason}", source_file=str(path), hint=hint) from error
    except (EOFError, zstandard.ZstdError, pa.ArrowException) as error:
        raise InputError("cannot be read: damaged", source_file=str(path)) from error


def _first_of_parquet(path: Path) -> Mapping[str, Any]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1):
            row: dict[str, Any] = batch.to_pylist()[0]
            return row
    raise InputError("has no rows", source_file=str(path))


def _first_of_jsonl(path: Path, form: Format, file: BinaryIO) -> Mapping[str, Any]:
    number = 0
    for line in _lines(form, file):
        number += 1
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        if not text:
            continue
        block = decode_block(str(path), Lines(number, 0, [text]))
        for problem in block.problems:
            raise problem
        return block.rows[0]
    raise InputError("has no rows", source_file=str(path))


def _lines(form: Format, file: BinaryIO) -> io.BufferedIOBase | BinaryIO:
    """The file's lines as a stream of bytes."""
    match form:
        case Format.JSONL_GZ:
            return gzip.GzipFile(fileobj=file)
        case Format.JSONL_ZST:
            return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file))
        case _:
            return file
