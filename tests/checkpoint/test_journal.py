"""The journal: what is committed is read back, whatever happened to the file's end or middle."""

from __future__ import annotations

import errno
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.checkpoint import journal as journal_module
from qfbatch.checkpoint.journal import (
    JournalHeader,
    JournalWriter,
    encode_header,
    encode_line,
    encode_lines,
    latest,
    read_journal,
)
from qfbatch.checkpoint.recovery import recover_journal
from qfbatch.errors import RunDirectoryError, StorageError
from qfbatch.records import Record

from .rows import RUN_ID, record

HEADER = JournalHeader(RUN_ID, "m", 0)
RECORDS = [record(n) for n in range(6)]
LINES = [encode_header(HEADER), *map(encode_line, RECORDS)]
WHOLE = b"".join(LINES)


def put(folder: Path, content: bytes) -> Path:
    """A journal with this content."""
    path = folder / "m-000000.journal"
    path.write_bytes(content)
    return path


def complete_before(length: int) -> list[Record]:
    """The records whose lines end within the first `length` bytes."""
    ends = [len(b"".join(LINES[: n + 1])) for n in range(len(LINES))]
    return [r for r, end in zip(RECORDS, ends[1:], strict=True) if end <= length]


def test_line_is_checksum_space_json_newline() -> None:
    """A line can be checked with any CRC32 and read with any JSON parser."""
    line = encode_line(RECORDS[0])
    assert line[:9] == f"{zlib.crc32(line[9:-1]):08x} ".encode()
    assert line[-1:] == b"\n"
    assert b"\n" not in line[:-1]
    assert msgspec.json.decode(line[9:-1], type=Record) == RECORDS[0]


def test_truncation_at_every_byte_reads_the_complete_lines(tmp_path: Path) -> None:
    """Cut anywhere, exactly the records of the complete lines are read."""
    for length in range(len(WHOLE) + 1):
        assert read_journal(put(tmp_path, WHOLE[:length])).records == complete_before(length)


@pytest.mark.parametrize("tail", [b"", b"\0" * 3, b"\0" * 5000])
def test_recovery_from_truncation_leaves_a_journal_to_go_on_with(tmp_path: Path, tail: bytes) -> None:
    """Torn or zero-filled, the tail is cut off and said, and new records follow the old ones."""
    for length in range(0, len(WHOLE), 7 if tail else 5):
        path = put(tmp_path, WHOLE[:length] + tail)
        kept, note = recover_journal(path, HEADER)
        assert kept == complete_before(length)
        assert bool(note) == (WHOLE[:length] + tail not in {b"".join(LINES[:n]) for n in range(1, 8)})
        assert "\n" not in note
        writer = JournalWriter(path, HEADER)
        writer.append(encode_line(record(99)))
        writer.commit()
        writer.close()
        contents = read_journal(path)
        assert contents.records == [*kept, record(99)]
        assert (contents.header, contents.bad_lines, contents.torn) == (HEADER, 0, 0)
    assert not list(tmp_path.glob("*.damaged-*"))


def test_flipped_bits_are_noticed_everywhere(tmp_path: Path) -> None:
    """A flipped bit costs the records of the lines it touches, two at most, and never goes unnoticed."""
    for position in range(len(b"".join(LINES[:4]))):
        content = bytearray(b"".join(LINES[:4]))
        content[position] ^= 1 << position % 8
        found = read_journal(put(tmp_path, bytes(content)))
        missing = [r for r in RECORDS[:3] if r not in found.records]
        assert found.records == [r for r in RECORDS[:3] if r not in missing]
        assert len(missing) <= 2
        assert found.header is None or found.bad_lines or found.torn


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_damaged_lines_are_quarantined_and_the_rest_kept(
    tmp_path_factory: pytest.TempPathFactory, damaged: list[bool], where: int
) -> None:
    """Any set of damaged lines: valid ones are kept, the file is kept aside unless only its end was bad."""
    folder = tmp_path_factory.mktemp("journal")
    lines = [bytearray(line) for line in LINES]
    for line, bad in zip(lines[1:], damaged, strict=True):
        if bad:
            line[where % (len(line) - 1)] ^= 4
    content = b"".join(lines)
    path = put(folder, content)
    kept, note = recover_journal(path, HEADER)
    assert kept == [r for r, bad in zip(RECORDS, damaged, strict=True) if not bad]
    assert bool(note) == any(damaged)
    assert read_journal(path).records == kept
    middle = any(bad and not all(damaged[n:]) for n, bad in enumerate(damaged))
    assert [p.read_bytes() for p in folder.glob("*.damaged-1")] == ([content] if middle else [])


@pytest.mark.parametrize(
    "other",
    [JournalHeader("run-2", "m", 0), JournalHeader(RUN_ID, "n", 0), JournalHeader(RUN_ID, "m", 1)],
)
def test_foreign_journal_is_kept_aside_and_not_taken(tmp_path: Path, other: JournalHeader) -> None:
    """A journal of another run, model or shard gives no record and is kept under another name."""
    content = encode_header(other) + b"".join(
        encode_line(record(n, model=other.model, shard=other.shard)) for n in range(3)
    )
    path = put(tmp_path, content)
    kept, note = recover_journal(path, HEADER)
    assert (kept, path.exists()) == ([], False)
    assert "belongs to run" in note
    assert path.with_name(path.name + ".damaged-1").read_bytes() == content


def test_records_of_another_shard_inside_are_damage(tmp_path: Path) -> None:
    """A record that names another model or shard than its journal is not taken."""
    stray = encode_line(record(50, shard=1))
    kept, note = recover_journal(put(tmp_path, LINES[0] + stray + b"".join(LINES[1:])), HEADER)
    assert kept == RECORDS
    assert "1 line was damaged" in note


def test_damaged_header_costs_no_record_of_this_shard(tmp_path: Path) -> None:
    """Without a readable header, records that name this model and shard are kept, and others are not."""
    content = b"deadbeef" + WHOLE[8:] + encode_line(record(50, shard=1))
    path = put(tmp_path, content)
    kept, note = recover_journal(path, HEADER)
    assert kept == RECORDS
    assert "header is damaged" in note
    assert read_journal(path).header == HEADER
    assert path.with_name(path.name + ".damaged-1").read_bytes() == content


def test_something_else_under_a_journal_name_is_kept_aside(tmp_path: Path) -> None:
    """A file that never was a journal is kept under another name, and said."""
    path = put(tmp_path, b"my notes\nmore of them")
    path.with_name(path.name + ".damaged-1").write_bytes(b"older")
    kept, note = recover_journal(path, HEADER)
    assert (kept, path.exists()) == ([], False)
    assert "no journal" in note
    assert path.with_name(path.name + ".damaged-2").read_bytes() == b"my notes\nmore of them"


def test_newer_journal_is_refused(tmp_path: Path) -> None:
    """A journal format of the future is refused, not quarantined."""
    path = put(tmp_path, encode_header(JournalHeader(RUN_ID, "m", 0, version=99)))
    with pytest.raises(RunDirectoryError, match="newer qfbatch"):
        recover_journal(path, HEADER)


def test_latest_record_of_a_row_wins() -> None:
    """Of several records of a row the last one counts."""
    assert latest([record(1), record(2), record(1, take=2)]) == [record(1, take=2), record(2)]


def test_lone_surrogates_cost_one_character() -> None:
    """Text that UTF-8 can't hold is committed with that one character replaced."""
    line = encode_line(record(1, result="good \ud800 good", columns={"topic": "\udfff"}))
    read = msgspec.json.decode(line[9:-1], type=Record)
    assert (read.result, read.columns) == ("good \ufffd good", {"topic": "\ufffd"})


@pytest.mark.parametrize("odd", [[], [record(9, result="\ud800")]])
def test_lines_of_a_group_are_the_lines_of_its_records(odd: list[Record]) -> None:
    """Encoded together, records have the same lines as one by one, half characters among them or not."""
    assert encode_lines([*RECORDS, *odd]) == b"".join(map(encode_line, [*RECORDS, *odd]))


def test_failed_sync_is_never_trusted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync nothing of its group stays, and the writer refuses even if the disk seems well."""
    path = tmp_path / "m-000000.journal"
    writer = JournalWriter(path, HEADER)
    writer.append(LINES[1])
    writer.commit()
    committed = path.read_bytes()

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "sync_data", fail)
        writer.append(LINES[2])
        with pytest.raises(StorageError, match="Input/output error"):
            writer.commit()
    with pytest.raises(StorageError):
        writer.append(LINES[3])
    with pytest.raises(StorageError):
        writer.commit()
    writer.close()
    assert path.read_bytes() == committed
