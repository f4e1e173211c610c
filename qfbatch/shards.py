"""Where one shard ends and the next begins: every `shard_rows` rows of a file, never across files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from qfbatch.records import Shard

CAPS_KEPT = 16  # different answer caps of one shard: a manifest holds them, and a plan needs no more


class ShardCutter:
    """Cuts the rows of one file after the other into shards, numbered through from 0.

    The shards partition the rows: in order, without gap or overlap, each of `shard_rows` rows but for the
    last one of a file.

    Args:
        shard_rows: rows a shard, at least 1.
    """

    def __init__(self, shard_rows: int) -> None:
        self.shards: list[Shard] = []
        self._shard_rows = shard_rows
        self._starts: list[tuple[int, int]] = []
        self._rows = 0
        self._tokens: list[int] = []  # of each shard of the current file
        self._caps: dict[int, Counter[int]] = {}  # likewise, of shards whose rows have some

    def add(self, numbers: Sequence[int], offsets: Sequence[int]) -> None:
        """Takes the next rows of the current file: `source_row` and reading offset of each."""
        first = -self._rows % self._shard_rows
        self._starts += [
            (numbers[index], offsets[index]) for index in range(first, len(numbers), self._shard_rows)
        ]
        self._rows += len(numbers)

    def count(self, tokens: Sequence[int]) -> None:
        """Takes the estimated prompt tokens of the rows last added, of each."""
        row = self._rows - len(tokens)
        taken = 0
        while taken < len(tokens):
            shard, within = divmod(row + taken, self._shard_rows)
            some = tokens[taken : taken + self._shard_rows - within]
            self._tokens += [0] * (shard + 1 - len(self._tokens))
            self._tokens[shard] += sum(some)
            taken += len(some)

    def cap(self, caps: Sequence[int | None]) -> None:
        """Takes the answer caps of the rows last added, of each; None for a row that has none."""
        row = self._rows - len(caps)
        for taken, cap in enumerate(caps):
            if cap is not None:
                self._caps.setdefault((row + taken) // self._shard_rows, Counter())[cap] += 1

    def end_file(self, source_file: str) -> int:
        """Closes the current file's shards and returns how many rows it had."""
        rows = self._rows
        for index, (first_row, offset) in enumerate(self._starts):
            self.shards.append(
                Shard(
                    number=len(self.shards),
                    source_file=source_file,
                    first_row=first_row,
                    rows=min(self._shard_rows, rows - index * self._shard_rows),
                    offset=offset,
                    estimated_prompt_tokens=self._tokens[index] if index < len(self._tokens) else None,
                    answer_caps=_few(self._caps.get(index, {})),
                )
            )
        self._starts, self._rows, self._tokens, self._caps = [], 0, [], {}
        return rows


def _few(caps: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """At most `CAPS_KEPT` caps with their rows: neighbours become one, at their mean."""
    ordered = sorted(caps.items())
    size = -(-len(ordered) // CAPS_KEPT)
    groups = [ordered[first : first + size] for first in range(0, len(ordered), max(1, size))]
    return tuple(
        (round(sum(cap * rows for cap, rows in group) / of), of)
        for group in groups
        if (of := sum(rows for _, rows in group))
    )
