"""Reading shards: every row once and in order, or an error that the file is another one."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from qfbatch.errors import InputError
from qfbatch.job.settings import InputSettings
from qfbatch.reader import ShardReader, read_shard, survey
from qfbatch.records import Row

from .inputs import jsonl, read_all, settings, write

CHANGED = "changed while the run was using it"
NEXT_STEP = "\nPut the file back as it was, or start the same command again: it looks at the input anew."
SUFFIXES = ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
prompts = st.text(min_size=1).filter(str.strip)
generated = st.lists(
    st.builds(
        lambda columns, prompt: {**columns, "prompt": prompt},
        st.dictionaries(st.text(max_size=5).filter(lambda name: name != "parameters"), values, max_size=4),
        prompts,
    ),
    min_size=1,
    max_size=12,
)


@given(rows=generated, shard_rows=st.integers(1, 14), suffix=st.sampled_from(SUFFIXES[:3]), data=st.data())
@trying(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_rows_once_and_in_order(
    tmp_path: Path, rows: list[dict[str, Any]], shard_rows: int, suffix: str, data: st.DataObject
) -> None:
    """Whatever the rows hold and however they are cut."""
    file = tmp_path / f"in.{suffix}"
    write(file, rows)
    job = settings(file, id=None, shard_rows=shard_rows)
    expected = [Row(f"{file}:{n}", str(file), n, row) for n, row in enumerate(rows, start=1)]
    assert read_all(job) == expected


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf\xef\xbb\xbf{}")
@example(b'{"\xff": 1}')
@example(b'{"prompt": "\\ud83d\\ude00"}\r{}')
@trying(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_rows_or_an_input_error(tmp_path: Path, text: bytes) -> None:
    """Nothing a file may hold ends in a traceback, plain or as a damaged archive or table."""
    for suffix in SUFFIXES:
        file = tmp_path / f"in.{suffix}"
        file.write_bytes(text)
        try:
            assert read_all(settings(file, id=None))
        except InputError as error:
            assert str(file) in str(error)  # noqa: PT017 - either way is right


json_lines = st.lists(
    st.sampled_from(
        [
            b'{"prompt": "p"}',
            b'{"prompt": ',
            b"[]",
            b"",
            b" \t",
            b'{"prompt": "\xff"}',
            b'{"prompt": "\xc3\xa9"}',
        ]
    )
    | st.binary(max_size=8).map(lambda raw: b'{"prompt": "' + raw + b'"}')
).map(b"\n".join)


@given(json_lines)
@trying(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nearly_right_lines_are_rows_or_an_input_error(tmp_path: Path, text: bytes) -> None:
    """The same for lines that look like rows."""
    (tmp_path / "in.jsonl").write_bytes(text)
    try:
        assert read_all(settings(tmp_path / "in.jsonl", id=None))
    except InputError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017 - either way is right


@pytest.fixture(params=SUFFIXES)
def surveyed(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, InputSettings, list[Row]]:
    """A file of 5,000 rows, so of many pieces and row groups, with its settings and rows."""
    file = tmp_path / f"in.{request.param}"
    rows = [{"id": f"r{n}", "prompt": f"{n} " * (n % 100 + 1)} for n in range(5000)]
    write(file, rows)
    job = settings(file, shard_rows=7)
    return file, job, [Row(f"r{n}", str(file), n + 1, row) for n, row in enumerate(rows)]


def test_shards_in_any_order(surveyed: tuple[Path, InputSettings, list[Row]]) -> None:
    """Going on where a stream stands and opening anew give the same, also for shards read twice."""
    _, job, rows = surveyed
    found = survey(job)
    shards = random.Random(1).sample(found.shards, 60)
    with ShardReader(job) as reader:
        for shard in [*shards, *sorted(shards, key=lambda s: s.number), shards[0], shards[0]]:
            start = shard.number * 7
            assert reader.read(found.files[0], shard) == rows[start : start + 7]
    assert read_shard(job, found.files[0], found.shards[-1]) == rows[4998:]


def test_shards_from_many_threads(surveyed: tuple[Path, InputSettings, list[Row]]) -> None:
    """Threads that share a reader don't take each other's rows."""
    _, job, rows = surveyed
    found = survey(job)
    shards = list(found.shards)
    read: dict[int, list[Row]] = {}
    with ShardReader(job) as reader:

        def work() -> None:
            while True:
                try:
                    shard = shards.pop(0)
                except IndexError:
                    return
                read[shard.number] = reader.read(found.files[0], shard)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [row for number in sorted(read) for row in read[number]] == rows


def test_a_file_that_shrinks(surveyed: tuple[Path, InputSettings, list[Row]]) -> None:
    """Rows that are gone end the run with a message, not with fewer rows."""
    file, job, _ = surveyed
    found = survey(job)
    with ShardReader(job) as reader:
        reader.read(found.files[0], found.shards[0])
        os.truncate(file, file.stat().st_size // 2)
        with pytest.raises(InputError) as caught:
            reader.read(found.files[0], found.shards[1])
    assert str(caught.value) == f"{file}: {CHANGED}{NEXT_STEP}"


def test_a_file_that_is_gone(surveyed: tuple[Path, InputSettings, list[Row]]) -> None:
    """A deleted file is named."""
    file, job, _ = surveyed
    found = survey(job)
    file.unlink()
    with pytest.raises(InputError) as caught:
        read_shard(job, found.files[0], found.shards[0])
    assert str(caught.value) == f"{file}: cannot be read: No such file or directory"


def test_other_contents_of_the_same_size(tmp_path: Path) -> None:
    """The same number of bytes with another text is noticed; a new time with the same text is none."""
    file = tmp_path / "in.jsonl"
    write(file, [{"id": "a", "prompt": "one"}])
    job = settings(file)
    found = survey(job)
    os.utime(file, ns=(1, 1))
    assert [row.row_id for row in read_shard(job, found.files[0], found.shards[0])] == ["a"]
    write(file, [{"id": "a", "prompt": "two"}])
    os.utime(file, ns=(2, 2))
    with pytest.raises(InputError) as caught:
        read_shard(job, found.files[0], found.shards[0])
    assert str(caught.value) == f"{file}: {CHANGED}{NEXT_STEP}"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b'{"id":"a","prompt":"one"}\n\n', ""),
        (b'{"id":"a","prompt":"one"}\nx\n', " (FILE:2: is not valid JSON: Expecting value at character 1)"),
        (b'{"prompt":"one"}\n{"id":"b"}\n', " (id: column 'id' is missing; there are 'prompt')"),
        (b'\n{"id":"a","prompt":"one"}\n{"id":"a","prompt":"one"}\n', ""),
    ],
    ids=["fewer rows", "bad JSON", "no id", "moved"],
)
def test_rows_that_are_not_the_surveyed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, detail: str
) -> None:
    """A file that changes between the look at it and the reading is noticed by what stands there."""
    file = tmp_path / "in.jsonl"
    file.write_bytes(jsonl([{"id": "a", "prompt": "one"}, {"id": "b", "prompt": "two"}]))
    job = settings(file)
    found = survey(job)
    monkeypatch.setattr("qfbatch.reader.shard_reader.is_same", lambda *_: True)
    file.write_bytes(text)
    with pytest.raises(InputError) as caught:
        read_shard(job, found.files[0], found.shards[0])
    assert str(caught.value) == f"{file}: {CHANGED}{detail.replace('FILE', str(file))}{NEXT_STEP}"
