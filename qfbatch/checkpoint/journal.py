"""The journal of one shard of one model: append-only lines, each with its checksum.

A line is 8 lower-case hex digits of the CRC32 of what follows, a space, JSON, a newline; JSON holds no raw
newline. The first line is the header, every other a `records.Record`. A record is committed once `commit` has
returned.
"""

from __future__ import annotations

import os
import struct
from binascii import hexlify
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from zlib import crc32

import msgspec

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.files import storage_error, sync_data, sync_folder
from qfbatch.errors import RunDirectoryError, StorageError
from qfbatch.records import Record

FORMAT_VERSION = 1
FORMAT_NAME = "qfbatch-journal"

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_CRC_DIGITS = 8
# Each read gives up the interpreter's lock to the event loop, and a reading thread then waits for it.
_READ_BYTES = 1 << 20

_encode = msgspec.json.Encoder().encode
_decode_record = msgspec.json.Decoder(Record).decode


class JournalHeader(msgspec.Struct, frozen=True):
    """Whose records a journal holds."""

    run_id: str
    model: str
    shard: int
    version: int = FORMAT_VERSION
    format: str = FORMAT_NAME


_decode_header = msgspec.json.Decoder(JournalHeader).decode


class JournalContents(msgspec.Struct, frozen=True):
    """What reading a journal found.

    Attributes:
        header: None where the first line is none.
        records: all valid ones, in journal order; of a row the latest wins.
        valid_length: bytes up to and with the last valid line.
        size: bytes read.
        bad_lines: invalid lines before `valid_length`: damage; a crash explains only what comes after it.
    """

    header: JournalHeader | None
    records: list[Record]
    valid_length: int
    size: int
    bad_lines: int

    @property
    def torn(self) -> int:
        """Bytes after the last valid line: what a crash leaves of a group that was never committed."""
        return self.size - self.valid_length


def encode_line(record: Record) -> bytes:
    """A record as its journal line.

    Text with lone surrogates, which neither JSON nor Parquet can hold, gets U+FFFD in their place: a paid
    answer is worth more than its one unpaired half character.
    """
    try:
        payload = _encode(record)
    except UnicodeEncodeError:
        payload = _encode(_without_surrogates(msgspec.to_builtins(record)))
    return b"%08x %b\n" % (crc32(payload), payload)


def encode_lines(records: Sequence[Record]) -> bytes:
    """Records as their journal lines, as `encode_line` makes each: two thirds of its time."""
    try:
        payloads = list(map(_encode, records))
    except UnicodeEncodeError:
        return b"".join(map(encode_line, records))
    sums = struct.pack(f">{len(payloads)}I", *map(crc32, payloads))
    digits = hexlify(sums, b" ", 4).split(b" ")
    lines = zip(digits, repeat(b" "), payloads, repeat(b"\n"), strict=False)
    return b"".join(chain.from_iterable(lines))


def storable(record: Record) -> Record:
    """A record as it would be read back from a journal: any text in it can be held by Parquet."""
    return _decode_record(encode_line(record)[_CRC_DIGITS + 1 : -1])


def encode_header(header: JournalHeader) -> bytes:
    """A header as the journal's first line."""
    payload = _encode(header)
    return b"%08x %b\n" % (crc32(payload), payload)


def latest(records: Sequence[Record]) -> list[Record]:
    """One record per row, the last one, in order of first appearance."""
    return list({record.row_id: record for record in records}.values())


def read_journal(path: Path) -> JournalContents:
    """Read a journal, valid lines only; changes nothing, so it may be read while it is written.

    Raises:
        FileNotFoundError: it is gone (its shard was closed).
        StorageError: it can't be read.
        RunDirectoryError: a newer qfbatch wrote it.
    """
    header: JournalHeader | None = None
    records: list[Record] = []
    position = valid_length = bad = bad_before_valid = 0
    try:
        with path.open("rb", buffering=_READ_BYTES) as file:
            for line in file:
                start, position = position, position + len(line)
                payload = _payload(line)
                if payload is not None and start == 0:
                    header = _header(payload, path)
                    if header is not None:
                        valid_length = position
                        continue
                record = _record(payload, header) if payload is not None else None
                if record is None:
                    bad += 1
                    # A line whose checksum holds was written so: it is no torn tail, whatever it says.
                    if payload is None:
                        continue
                else:
                    records.append(record)
                valid_length, bad_before_valid = position, bad
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(path, "read", error) from error
    return JournalContents(header, records, valid_length, position, bad_before_valid)


class JournalWriter:
    """Appends to one journal, opened or created; not for use by two threads at once.

    An existing file has to be whole (`recovery.recover_journal`). After a failed write the file is cut back
    to what was committed. After any failure the writer refuses to go on: what a failed fsync left in the
    system's cache nobody can know, and a second fsync would say "fine".

    Args:
        path: the journal.
        header: written with the first group of a new file.

    Raises:
        StorageError: it can't be opened.
    """

    def __init__(self, path: Path, header: JournalHeader) -> None:
        self.path = path
        self._fd: int | None = None
        try:
            fd = os.open(path, _APPEND, 0o644)
            self._committed = self._length = os.fstat(fd).st_size
        except OSError as error:
            raise storage_error(path, "open", error) from error
        self._fd = fd
        self._header = b"" if self._committed else encode_header(header)
        self._failed: StorageError | None = None
        faultpoints.hit("journal.created")

    @property
    def committed_length(self) -> int:
        """Bytes that are on the medium."""
        return self._committed

    def append(self, lines: bytes) -> None:
        """Write whole lines; they are not committed yet.

        Raises:
            StorageError: the write failed, and the file is as it was at the last commit.
        """
        fd = self._usable()
        if not self._length:
            lines = self._header + lines
        faultpoints.hit("journal.before-write")
        if faultpoints.due("journal.half-write"):
            os.write(fd, lines[: len(lines) // 2].removesuffix(b"\n"))  # torn: two lines may be of one length
            faultpoints.die()
        try:
            rest = memoryview(lines)
            while rest:
                written = os.write(fd, rest)
                self._length += written
                rest = rest[written:]
        except OSError as error:
            raise self._fail("write", error) from error
        faultpoints.hit("journal.after-write")

    def commit(self) -> None:
        """Have everything appended on the medium.

        Raises:
            StorageError: that failed; nothing appended since the last commit counts.
        """
        fd = self._usable()
        try:
            sync_data(fd)
            if not self._committed:  # the file's name has to last as long as its bytes
                sync_folder(self.path.parent)
        except OSError as error:
            raise self._fail("write", error) from error
        self._committed = self._length
        faultpoints.hit("journal.after-sync")

    def rollback(self) -> None:
        """Cut off what was appended since the last commit, as far as the disk lets."""
        if self._fd is not None and self._length != self._committed:
            with suppress(OSError):  # recovery cuts a torn tail off anyway
                os.ftruncate(self._fd, self._committed)
                self._length = self._committed

    def close(self) -> None:
        """Close the file; what was appended and not committed is cut off."""
        self.rollback()
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):  # what counts was fsynced
                os.close(fd)

    def _usable(self) -> int:
        if self._failed is not None:
            raise self._failed
        if self._fd is None:
            raise ValueError(f"{self.path}: journal is closed")
        return self._fd

    def _fail(self, doing: str, error: OSError) -> StorageError:
        self._failed = storage_error(self.path, doing, error)
        self.rollback()
        return self._failed


def _payload(line: bytes) -> bytes | None:
    """The JSON of a line, None unless it is complete and its checksum holds."""
    if line[-1:] != b"\n" or line[_CRC_DIGITS : _CRC_DIGITS + 1] != b" ":
        return None
    payload = line[_CRC_DIGITS + 1 : -1]
    return payload if line[:_CRC_DIGITS] == b"%08x" % crc32(payload) else None


def _header(payload: bytes, path: Path) -> JournalHeader | None:
    try:
        header = _decode_header(payload)
    except msgspec.MsgspecError:
        return None
    if header.format == FORMAT_NAME and header.version > FORMAT_VERSION:
        raise RunDirectoryError(
            f"{path}: written by a newer qfbatch (journal format {header.version}).",
            hint="Upgrade qfbatch, or give this job another output.path.",
        )
    return header if header.format == FORMAT_NAME else None


def _record(payload: bytes, header: JournalHeader | None) -> Record | None:
    try:
        record = _decode_record(payload)
    except msgspec.MsgspecError:
        return None
    if header is not None and (record.model, record.shard) != (header.model, header.shard):
        return None
    return record


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(v) for v in value]
    return value


__all__ = [
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "JournalContents",
    "JournalHeader",
    "JournalWriter",
    "encode_header",
    "encode_line",
    "encode_lines",
    "latest",
    "read_journal",
    "storable",
]
