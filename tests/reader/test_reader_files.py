"""Which files an input consists of, and whether they are still the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qfbatch.errors import InputError
from qfbatch.reader import InputChange, changed_files, find_files, survey
from qfbatch.storage.access import StorageAccess

from .inputs import ROWS, settings, write

SUPPORTED = ".jsonl, .jsonl.gz, .jsonl.zst, .parquet, .ndjson, .ndjson.gz, .ndjson.zst"
CONVERT = (
    "To convert it: python -c \"import polars; polars.read_csv('data/sub/e.csv', separator=',', "
    "infer_schema=False).write_ndjson('data/sub/e.jsonl')\""
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of inputs, which is the current one."""
    for name in ("b.jsonl", "a.parquet", "sub/c.ndjson", "sub/deep/d.jsonl.gz", ".hidden.jsonl", "sub/e.csv"):
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, ROWS)
    (tmp_path / "data" / ".git").mkdir()
    write(tmp_path / "data" / ".git" / "x.jsonl", ROWS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["data/b.jsonl"], ["data/b.jsonl"]),
        (["./data/b.jsonl"], ["./data/b.jsonl"]),
        (["data"], ["data/a.parquet", "data/b.jsonl", "data/sub/c.ndjson", "data/sub/deep/d.jsonl.gz"]),
        (["data/"], ["data/a.parquet", "data/b.jsonl", "data/sub/c.ndjson", "data/sub/deep/d.jsonl.gz"]),
        (["data/*.jsonl"], ["data/b.jsonl"]),
        (["data/**/*.*jso*"], ["data/b.jsonl", "data/sub/c.ndjson", "data/sub/deep/d.jsonl.gz"]),
        (
            ["data/sub/c.ndjson", "data/[ab].*", "data/./b.jsonl"],
            ["data/sub/c.ndjson", "data/a.parquet", "data/b.jsonl"],
        ),
    ],
)
def test_paths_folders_and_patterns(tree: Path, paths: list[str], names: list[str]) -> None:
    """Files come in the job's order, sorted within an entry, each once, named as the job spells them."""
    files = find_files(paths, StorageAccess())
    assert [file.name for file in files] == names
    assert all(Path(file.path).is_absolute() for file in files)


def test_a_folder_that_cannot_be_read_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder below that the system refuses to list does not leave its rows out of the run in silence."""
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        """As for a user who may not enter one of the folders; tests may run as one who may."""
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="data/sub/deep: the folder cannot be read: Permission denied"):
        find_files(["data"], StorageAccess())


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("data/c.jsonl", "data/c.jsonl: no such file or folder\nDid you mean data/b.jsonl?"),
        (
            "nowhere/x.jsonl",
            (
                "nowhere/x.jsonl: no such file or folder\n"
                "Check `input.path`; relative paths start at the current folder."
            ),
        ),
        (
            "data/*.zst",
            (
                "data/*.zst: no file matches\nRelative patterns start at the current folder; "
                "`**` stands for any number of folders."
            ),
        ),
        (
            "data/sub/e.csv",
            f"data/sub/e.csv: this kind of file is not supported\nSupported are {SUPPORTED}. {CONVERT}",
        ),
        (
            "data/sub/*.*",
            f"data/sub/e.csv: this kind of file is not supported\nSupported are {SUPPORTED}. {CONVERT}",
        ),
        ("empty", f"empty: the folder holds no supported file\nSupported are {SUPPORTED}."),
        ("gone.jsonl", "gone.jsonl: cannot be read: No such file or directory"),
        ("pipe.jsonl", "pipe.jsonl: is not a regular file; it has to be read more than once"),
        (
            "http://b/x.jsonl",
            "http://b/x.jsonl: neither a local path nor object storage\nWrite a path, or s3://bucket/key.",
        ),
    ],
)
def test_nothing_to_read(tree: Path, path: str, message: str) -> None:
    """A path that leads nowhere is an error with the next step, never an empty input."""
    (tree / "empty").mkdir()
    (tree / "gone.jsonl").symlink_to("nothing")
    os.mkfifo(tree / "pipe.jsonl")
    with pytest.raises(InputError) as caught:
        find_files([path], StorageAccess())
    assert str(caught.value) == message


def test_no_path_at_all() -> None:
    """A job without paths is told so."""
    with pytest.raises(InputError) as caught:
        find_files([], StorageAccess())
    assert str(caught.value) == "the job names no input\nGive `input.path` a file, a folder or a pattern."


def test_an_unchanged_input_is_not_read_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same sizes and times are enough: resuming over many files costs a look at each."""
    job = settings("data/b.jsonl", "data/sub", id=None)
    found = survey(job)

    def no_reading(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("qfbatch.reader.changes.file_bytes", no_reading)
    assert changed_files(found.files, job) == InputChange()
    assert not changed_files(found.files, job)


def test_what_changed_is_named(tree: Path) -> None:
    """Added, removed and modified files are told apart; a new time alone is no change."""
    job = settings("data/*.*", id=None)
    write(tree / "data" / "c.jsonl", ROWS)
    found = survey(job)
    os.utime("data/a.parquet", ns=(1, 1))
    assert not changed_files(found.files, job)
    (tree / "data" / "a.parquet").rename("data/z.parquet")
    text = (tree / "data" / "b.jsonl").read_bytes()
    (tree / "data" / "b.jsonl").write_bytes(text.replace(b"one", b"six"))
    os.utime("data/b.jsonl", ns=(1, 1))
    (tree / "data" / "c.jsonl").write_bytes(text + text)
    change = changed_files(found.files, job)
    assert change == InputChange(
        added=("data/z.parquet",), removed=("data/a.parquet",), modified=("data/b.jsonl", "data/c.jsonl")
    )
    assert change


def test_another_order_is_a_change(tree: Path) -> None:
    """The same files in another order give other shards."""
    found = survey(settings("data/b.jsonl", "data/a.parquet", id=None))
    turned = settings("data/a.parquet", "data/b.jsonl", id=None)
    assert changed_files(found.files, turned) == InputChange(moved=True)
