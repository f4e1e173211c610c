"""Records kept in memory until their shard becomes a part: the part is the one its journal would give."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from qfbatch.checkpoint.committer import Committer
from qfbatch.checkpoint.journal import encode_line
from qfbatch.checkpoint.kept import Kept
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.records import Record

from .rows import COLUMNS, RUN_ID, plan, record

ROWS = [
    record(1),
    msgspec.structs.replace(record(0), result="half a character: \ud83d", error_code=2**40),
    msgspec.structs.replace(record(2), columns={"not": "a column"}),
    msgspec.structs.replace(record(1), result="asked again"),
]


def opened(path: Path) -> Checkpoint:
    """A recovered checkpoint of one model and one shard of four rows."""
    checkpoint = Checkpoint.open(RunLayout(path), ["m"], plan(1, 4), COLUMNS, RUN_ID)
    checkpoint.recover()
    return checkpoint


async def committed(path: Path, rows: Sequence[Record], *, partial: bool = True) -> None:
    """A session that commits rows and leaves them as a part, or in their journal."""
    committer = Committer(opened(path), group_rows=2)
    async with committer:
        for row in rows:
            await committer.wait_for_room()
            committer.append(row)
        if not partial:
            await committer.close(partial=False)


def part(path: Path) -> list[dict[str, object]]:
    """The rows of the one part."""
    rows: list[dict[str, object]] = pq.read_table(RunLayout(path).part("m", 0)).to_pylist()
    return rows


def test_a_part_from_memory_is_the_part_from_the_journal(tmp_path: Path) -> None:
    """Half characters, values beyond their columns and rows answered twice come out as from a journal."""
    (tmp_path / "memory").mkdir()
    (tmp_path / "journal").mkdir()
    asyncio.run(committed(tmp_path / "memory", ROWS))
    asyncio.run(committed(tmp_path / "journal", ROWS, partial=False))
    opened(tmp_path / "journal").close_shard("m", 0)
    assert part(tmp_path / "journal") == part(tmp_path / "memory")
    assert [row["result"] for row in part(tmp_path / "memory")][:2] == [
        "half a character: \ufffd",
        "asked again",
    ]


def test_rows_of_an_earlier_session_are_read_from_the_journal(tmp_path: Path) -> None:
    """A shard whose journal a killed session began is closed with that session's rows, too."""
    asyncio.run(committed(tmp_path, [record(0), record(1)], partial=False))
    asyncio.run(committed(tmp_path, [record(2), record(3)]))
    assert [row["row_id"] for row in part(tmp_path)] == ["row-0", "row-1", "row-2", "row-3"]


@pytest.mark.parametrize("room", [0, 3, 100])
def test_what_is_kept_has_a_bound(room: int) -> None:
    """A shard is kept wholly or not at all, never beyond the room, and its room is free again afterwards."""
    size = len(encode_line(record(0)))
    kept = Kept(room * size)
    for number in range(4):
        kept.add(("m", 0), [record(number)], size)
    kept.add(("m", 1), [record(9)], size)
    assert kept.take(("m", 0)) == ([record(n) for n in range(4)] if room >= 4 else None)
    assert kept.take(("m", 1)) == ([record(9)] if room else None)
    kept.add(("m", 2), [record(5)] * room, room * size)
    assert kept.take(("m", 2)) == [record(5)] * room
