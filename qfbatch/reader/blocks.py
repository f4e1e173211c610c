"""What reading a file yields: blocks of rows, and for a run, rows from a given place on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from qfbatch.errors import InputError


class Block(Protocol):
    """Consecutive rows of one file; small enough to hold, large enough that per-block work costs nothing."""

    @property
    def rows(self) -> Sequence[dict[str, Any]]:
        """The columns asked for, at least; values are JSON values."""

    @property
    def numbers(self) -> Sequence[int]:
        """`source_row` of each row."""

    @property
    def offsets(self) -> Sequence[int]:
        """Where reading each row starts, as `records.Shard.offset` has it."""

    @property
    def problems(self) -> Sequence[InputError]:
        """What stands between these rows and is none."""

    def seen(self) -> Mapping[str, int]:
        """Columns in order of appearance, with the `kinds.Seen` flags of their values."""


class FirstRows:
    """A block's first rows, as a block.

    Args:
        block: the whole.
        rows: how many, at least 1 and no more than it has.
    """

    def __init__(self, block: Block, rows: int) -> None:
        self._block = block
        self.rows: Sequence[dict[str, Any]] = block.rows[:rows]
        self.numbers: Sequence[int] = block.numbers[:rows]
        self.offsets: Sequence[int] = block.offsets[:rows]
        last = self.numbers[-1]
        self.problems: Sequence[InputError] = [p for p in block.problems if (p.source_row or 0) <= last]

    def seen(self) -> Mapping[str, int]:
        """See `Block.seen`: of the whole block, which is more than these rows may have."""
        return self._block.seen()


class RowStream(Protocol):
    """Rows of one file in order, for reading one shard after the other."""

    @property
    def position(self) -> int:
        """Where it stands: what `start` would be to go on without passing anything over."""

    def can_reach(self, start: int) -> bool:
        """Whether going on to `start` is cheaper than opening the file again."""

    def take(self, start: int, rows: int) -> tuple[Sequence[int], list[dict[str, Any]]]:
        """The numbers and columns of up to `rows` rows from `start` on; fewer where the file ends.

        Raises:
            InputError: what stands there cannot be read.
        """

    def close(self) -> None:
        """Closes the file."""
