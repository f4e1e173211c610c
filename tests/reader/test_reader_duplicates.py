"""Ids that occur twice."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from qfbatch.errors import InputError
from qfbatch.reader import survey
from qfbatch.reader.duplicates import DuplicateFinder

from .inputs import refused, settings, write


@given(st.lists(st.lists(st.text(max_size=2))), st.sampled_from([1, 3, 10**6]))
@trying(max_examples=50, deadline=None)  # an example may write some hundred files
def test_finds_what_counting_finds(blocks: list[list[str]], memory_ids: int) -> None:
    """In memory and through files, exactly the ids that occur more than once."""
    with DuplicateFinder(memory_ids=memory_ids) as finder:
        for ids in blocks:
            finder.add(ids)
        suspects = finder.suspects()
    counts = Counter(row_id for ids in blocks for row_id in ids)
    assert suspects == {hash(row_id) for row_id, count in counts.items() if count > 1}


@pytest.mark.parametrize("memory_ids", [5, 10**6])
@given(
    first=st.lists(st.integers(-3, 30) | st.text("ab1", min_size=1, max_size=3), min_size=1),
    second=st.lists(st.integers(-3, 30) | st.text("ab1", min_size=1, max_size=3), min_size=1),
)
@trying(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_both_places(
    tmp_path: Path,
    hold_ids: Callable[[int], None],
    memory_ids: int,
    first: list[int | str],
    second: list[int | str],
) -> None:
    """Across files, numbers and text alike, as a plain dictionary of everything would name them."""
    hold_ids(memory_ids)
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"]
    known: dict[str, str] = {}
    expected = []
    for file, ids in zip(files, (first, second), strict=True):
        write(file, [{"id": row_id, "prompt": "p"} for row_id in ids])
        for number, row_id in enumerate(map(str, ids), start=1):
            place = f"{file}:{number}"
            if known.setdefault(row_id, place) != place:
                expected.append(f"{place}: id {row_id!r} is already used at {known[row_id]}")
    job = settings(*files)
    if not expected:
        assert survey(job).rows == len(first) + len(second)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qfbatch.reader.problems.MANY", 20)  # a line for each row, however many are alike
        *message, _ = refused(job).splitlines()
    lines = message if len(expected) == 1 else [line.strip() for line in message[1:]]
    assert sorted(lines) == sorted(expected[:20])


@pytest.fixture(scope="module")
def hold_ids() -> Iterator[Callable[[int], None]]:
    """Sets how many ids are held in memory."""
    with pytest.MonkeyPatch.context() as patch:
        yield lambda ids: patch.setattr(DuplicateFinder.__init__, "__kwdefaults__", {"memory_ids": ids})


def test_temporary_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays behind, and no room for them is said with the next step."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with DuplicateFinder(memory_ids=2) as finder:
        finder.add(["a", "b", "c"])
        assert [entry.name.startswith("qfbatch-ids-") for entry in tmp_path.iterdir()] == [True]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with DuplicateFinder(memory_ids=2) as finder, pytest.raises(InputError) as caught:
        finder.add(["a", "b", "c"])
    assert str(caught.value) == (
        "no room for temporary files while looking for duplicate ids: No such file or directory\n"
        "Set TMPDIR to a folder with 8 bytes of room for every row."
    )
