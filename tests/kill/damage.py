"""Damage to the files of a run, as a bad disk or another hand does it."""

from __future__ import annotations

from pathlib import Path


def largest_journal(run: Path) -> Path:
    """The journal with most to lose."""
    return max((run / "journal").glob("*.journal"), key=lambda path: path.stat().st_size)


def flip_bit(path: Path, line: int = 1) -> None:
    """Turn one bit round in the middle of a line, counted from 0; lines must follow it."""
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) > line + 1, "nothing follows the damaged line"
    damaged = bytearray(lines[line])
    damaged[len(damaged) // 2] ^= 1
    lines[line] = bytes(damaged)
    path.write_bytes(b"".join(lines))


def truncate(path: Path, share: float = 0.5) -> None:
    """Keep only the first part of a file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def zero_tail(path: Path, count: int = 4096) -> None:
    """Append zeros, as a file system may after a power cut."""
    with path.open("ab") as file:
        file.write(bytes(count))


__all__ = ["flip_bit", "largest_journal", "truncate", "zero_tail"]
