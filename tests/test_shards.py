"""Where shards begin and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfbatch.records import Shard
from qfbatch.shards import CAPS_KEPT, ShardCutter


def test_a_shard_never_spans_files() -> None:
    """Every file begins with a shard of its own, and numbers run through."""
    cutter = ShardCutter(2)
    cutter.add(range(1, 4), [0, 10, 20])
    rows_of_a = cutter.end_file("a")
    cutter.add([2], [5])
    cutter.add([4], [15])
    rows_of_b = cutter.end_file("b")
    assert (rows_of_a, rows_of_b) == (3, 2)
    assert cutter.shards == [
        Shard(0, "a", 1, 2, 0),
        Shard(1, "a", 3, 1, 20),
        Shard(2, "b", 2, 2, 5),
    ]


def test_the_answer_caps_of_a_shard() -> None:
    """Caps are counted for the shard whose row states them; very many become few, no row is lost."""
    cutter = ShardCutter(2)
    cutter.add([1, 2, 3], [0, 10, 20])
    cutter.cap([8, None, 8])
    cutter.add([4], [30])
    cutter.cap([16])
    cutter.end_file("a")
    assert [((8, 1),), ((8, 1), (16, 1))] == [shard.answer_caps for shard in cutter.shards]
    many = ShardCutter(1000)
    many.add(range(1000), range(1000))
    many.cap(range(1, 1001))
    many.end_file("b")
    (shard,) = many.shards
    assert len(shard.answer_caps) == CAPS_KEPT
    assert sum(rows for _, rows in shard.answer_caps) == 1000
    assert sum(cap * rows for cap, rows in shard.answer_caps) == pytest.approx(500_500, rel=0.01)


@given(
    st.lists(st.lists(st.lists(st.integers(1, 3), max_size=7), max_size=4), max_size=4),
    st.integers(1, 10),
)
def test_shards_partition_the_rows(files: list[list[list[int]]], shard_rows: int) -> None:
    """In order, without gap or overlap, whatever the blocks the rows came in and the lines between them."""
    cutter = ShardCutter(shard_rows)
    rows: list[tuple[str, int]] = []
    for index, blocks in enumerate(files):
        number = 0
        for steps in blocks:
            numbers = [number := number + step for step in steps]
            cutter.add(numbers, [100 * n for n in numbers])
            cutter.count(numbers)
            rows += [(str(index), n) for n in numbers]
        cutter.end_file(str(index))

    shards = iter(cutter.shards)
    left = tokens = 0
    for source_file, number in rows:
        if not left:
            shard = next(shards)
            tokens = 0
            assert (shard.source_file, shard.first_row, shard.offset) == (source_file, number, 100 * number)
            left = shard.rows
            assert 1 <= left <= shard_rows
        assert shard.source_file == source_file
        left -= 1
        tokens += number
        assert left or tokens == shard.estimated_prompt_tokens
    assert left == 0
    assert next(shards, None) is None
    assert [shard.number for shard in cutter.shards] == list(range(len(cutter.shards)))
