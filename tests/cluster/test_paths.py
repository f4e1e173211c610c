"""Paths of the driver, as nodes with other working directories have to find them."""

from __future__ import annotations

from pathlib import Path

import pytest

from qfbatch.checkpoint.manifest import Manifest
from qfbatch.cluster.paths import absolute_files
from qfbatch.records import SourceFile, Survey


def test_input_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative file becomes absolute; an address in object storage stays what it is."""
    monkeypatch.chdir(tmp_path)
    named = ("rows.jsonl", "s3://bucket/rows.jsonl")
    files = tuple(SourceFile(name, name, 1, 0, "", 1) for name in named)
    survey = Survey(files, (), (), 2, 0)
    manifest = Manifest("run-1", "2026-11-22T00:00:00+00:00", "0", "3", "linux", {}, {}, survey)
    found = absolute_files(manifest).survey.files
    assert [str(tmp_path / "rows.jsonl"), "s3://bucket/rows.jsonl"] == [file.path for file in found]
    assert list(named) == [file.name for file in found]
