"""Input files for tests, and the whole way from them to rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from qfbatch.errors import InputError
from qfbatch.job.settings import InputSettings
from qfbatch.reader import ShardReader, survey
from qfbatch.records import Row

ROWS: list[dict[str, Any]] = [
    {"id": "a", "prompt": "one", "n": 1, "f": 0.5, "b": True, "l": ["x", "é"], "t": "你"},
    {"id": "b", "prompt": "two\n2", "n": None, "f": None, "b": None, "l": None, "t": None},
    {"id": "c", "prompt": "three 😀", "n": 2**62, "f": -1e300, "b": False, "l": [], "t": "\0"},
]


def jsonl(rows: Sequence[Any]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows in the format of the file's suffix."""
    match path.suffix:
        case ".parquet":
            names = dict.fromkeys(name for row in rows for name in row)
            columns = {name: [row.get(name) for row in rows] for name in names}
            pq.write_table(pa.table(columns), path, row_group_size=max(2, len(rows) // 10))
        case ".gz":
            path.write_bytes(gzip.compress(jsonl(rows)))
        case ".zst":
            path.write_bytes(zstandard.compress(jsonl(rows)))
        case _:
            path.write_bytes(jsonl(rows))


def settings(*paths: Path | str, **changes: Any) -> InputSettings:
    """Input settings with an id and a prompt column."""
    return replace(InputSettings(paths=tuple(map(str, paths)), id="id", prompt="prompt"), **changes)


def read_all(job: InputSettings) -> list[Row]:
    """All rows, shard by shard."""
    found = survey(job)
    files = {file.name: file for file in found.files}
    with ShardReader(job) as reader:
        return [row for shard in found.shards for row in reader.read(files[shard.source_file], shard)]


def refused(job: InputSettings) -> str:
    """The whole message with which a survey refuses an input."""
    with pytest.raises(InputError) as caught:
        survey(job)
    return str(caught.value)
