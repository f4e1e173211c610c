"""Input in object storage: read as files are, found as files are, and told when it changes."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from storage.s3_servers import BUCKET, environment

from qfbatch.errors import InputError
from qfbatch.job.settings import InputSettings
from qfbatch.reader import ShardReader, changed_files, survey
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address
from qfbatch.storage.opening import open_store

from .inputs import read_all, refused, settings, write

ROWS = [{"id": f"row-{n}", "prompt": f"question {n}", "n": n} for n in range(5000)]


class Bucket:
    """A prefix of its own, to put input under.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        self.access = StorageAccess(environment(url))
        self.prefix = f"input-{uuid.uuid4().hex}"
        self.store = open_store(Address(BUCKET, self.prefix), self.access)

    def address(self, key: str) -> str:
        """What a job calls the object, or the objects."""
        return f"s3://{BUCKET}/{self.prefix}/{key}"

    def settings(self, *keys: str) -> InputSettings:
        """A job's input of these."""
        return settings(*map(self.address, keys), access=self.access, shard_rows=900)


@pytest.fixture
def bucket(moto: str) -> Bucket:
    """An empty prefix."""
    return Bucket(moto)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_rows_are_those_of_the_file(suffix: str, bucket: Bucket, tmp_path: Path) -> None:
    """Every format is read from an object as from a file: same rows, same shards, its digest and its etag."""
    path = tmp_path / f"rows{suffix}"
    write(path, ROWS)
    bucket.store.put(path.name, path.read_bytes())
    stored, local = bucket.settings(path.name), settings(path, shard_rows=900)
    expected = [(row.row_id, row.source_row, row.columns) for row in read_all(local)]
    assert expected == [(row.row_id, row.source_row, row.columns) for row in read_all(stored)]
    found, here = survey(stored), survey(local)
    assert [shard.rows for shard in here.shards] == [shard.rows for shard in found.shards]
    assert here.files[0].digest == found.files[0].digest
    assert found.files[0].etag
    assert bucket.address(path.name) == found.files[0].name


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["data"], ["data/a.jsonl", "data/deep/b.jsonl"]),
        (["data/*.jsonl"], ["data/a.jsonl"]),
        (["data/**/*.jsonl"], ["data/a.jsonl", "data/deep/b.jsonl"]),
        (["data/*/b.jsonl", "data/a.jsonl"], ["data/deep/b.jsonl", "data/a.jsonl"]),
        (["data/a.jsonl", "data"], ["data/a.jsonl", "data/deep/b.jsonl"]),
    ],
)
def test_objects_are_found_as_files_are(keys: list[str], expected: list[str], bucket: Bucket) -> None:
    """A key, a prefix or a pattern names objects in order, each once, without hidden or other ones."""
    for number, key in enumerate(
        ("data/a.jsonl", "data/deep/b.jsonl", "data/.hidden.jsonl", "data/note.txt")
    ):
        bucket.store.put(key, b'{"id": "%d", "prompt": "p"}\n' % number)
    found = survey(bucket.settings(*keys))
    assert [bucket.address(key) for key in expected] == [file.name for file in found.files]


def test_a_changed_object_is_noticed(bucket: Bucket) -> None:
    """Other content of the same size is a change, the same content put anew is none."""
    bucket.store.put("rows.jsonl", b'{"id": "a", "prompt": "one"}\n')
    job = bucket.settings("rows.jsonl")
    found = survey(job)
    bucket.store.put("rows.jsonl", b'{"id": "a", "prompt": "one"}\n')
    assert not changed_files(found.files, job)
    bucket.store.put("rows.jsonl", b'{"id": "a", "prompt": "two"}\n')
    assert (bucket.address("rows.jsonl"),) == changed_files(found.files, job).modified
    with ShardReader(job) as reader, pytest.raises(InputError, match="changed while the run was using it"):
        reader.read(found.files[0], found.shards[0])


def test_what_is_not_there_is_said(bucket: Bucket) -> None:
    """A missing object, an unsupported kind and a missing bucket are one clear message each."""
    assert f"{bucket.address('none.jsonl')}: no supported object is there" in refused(
        bucket.settings("none.jsonl")
    )
    bucket.store.put("a.txt", b"text")
    assert "this kind of file is not supported" in refused(bucket.settings("a.txt"))
    assert "this kind of file is not supported" in refused(bucket.settings("*"))
    elsewhere = settings("s3://no-such-bucket/a.jsonl", access=bucket.access)
    assert "s3://no-such-bucket" in refused(elsewhere)
