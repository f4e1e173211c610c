"""Making a journal whole again after a crash or damage, saying so, and never dropping anything unsaid."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.files import replace_file, storage_errors, sync_folder
from qfbatch.checkpoint.journal import (
    JournalContents,
    JournalHeader,
    encode_header,
    encode_line,
    read_journal,
)
from qfbatch.records import Record
from qfbatch.wording import things


def recover_journal(path: Path, expected: JournalHeader) -> tuple[list[Record], str]:
    """Read a journal and leave it as a writer may go on with it, or gone.

    * Torn tail (nothing valid follows): cut off. It was never committed.
    * Damaged line with valid ones after it: the file is kept aside as `<name>.damaged-<n>`, the valid records
      are kept, the rows of bad lines count as not done.
    * A header of another run, model or shard: the whole file is kept aside, none of its records are taken.
    * No readable header: kept aside; the records that name this model and shard are taken.
    * Nothing in it: removed.

    Args:
        path: the journal; it exists.
        expected: the header it has to have.

    Returns:
        The valid records in journal order, and one line of what was done; empty where all was well.

    Raises:
        StorageError: reading or repairing it failed.
        RunDirectoryError: a newer qfbatch wrote it.
    """
    contents = read_journal(path)
    if contents.header is not None and _other(contents.header, expected):
        aside = _set_aside(path)
        path_gone(path)
        header = contents.header
        return [], (
            f"{path.name}: belongs to run {header.run_id}, model {header.model}, shard {header.shard}; "
            f"kept aside as {aside.name}, its rows are not taken"
        )
    if contents.header is None:
        return _without_header(path, contents, expected)
    if contents.bad_lines:
        aside = _set_aside(path)
        _rewrite(path, expected, contents.records)
        return contents.records, (
            f"{path.name}: {_lines(contents.bad_lines)} damaged; {_records(contents.records)} kept, "
            f"the rows of the rest run again; the damaged file is kept as {aside.name}"
        )
    if contents.torn:
        faultpoints.hit("recovery.before-truncate")
        _cut(path, contents.valid_length)
        faultpoints.hit("recovery.after-truncate")
        return contents.records, (
            f"{path.name}: cut {things(contents.torn, 'byte')} of an unfinished write off its end; "
            f"{_records(contents.records)} kept"
        )
    return contents.records, ""


def path_gone(path: Path) -> None:
    """Remove a file, durably.

    Raises:
        StorageError: that failed.
    """
    with storage_errors(path, "remove"):
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def _without_header(
    path: Path, contents: JournalContents, expected: JournalHeader
) -> tuple[list[Record], str]:
    # The first write holds the header: a file torn inside it, or never written to, was never committed.
    if not contents.records and not contents.bad_lines and not contents.valid_length:
        if _only_torn_start(path, expected):
            path_gone(path)
            return [], f"{path.name}: its first write was unfinished; removed, it held no committed row"
        aside = _set_aside(path)
        path_gone(path)
        return [], f"{path.name}: is no journal; kept aside as {aside.name}"
    kept = [r for r in contents.records if (r.model, r.shard) == (expected.model, expected.shard)]
    aside = _set_aside(path)
    if kept:
        _rewrite(path, expected, kept)
    else:
        path_gone(path)
    return kept, (
        f"{path.name}: its header is damaged; {_records(kept)} of this model and shard kept, "
        f"the rows of the rest run again; the damaged file is kept as {aside.name}"
    )


def _only_torn_start(path: Path, expected: JournalHeader) -> bool:
    """Whether the file is empty, zeros, or begins as our header does and breaks off."""
    with storage_errors(path, "read"), path.open("rb") as file:
        start = file.read(1 << 16)
    header = encode_header(expected)
    begun = start.rstrip(b"\0")
    return not begun or header.startswith(begun) or begun.startswith(header)


def _other(found: JournalHeader, expected: JournalHeader) -> bool:
    return (found.run_id, found.model, found.shard) != (expected.run_id, expected.model, expected.shard)


def _set_aside(path: Path) -> Path:
    """Copy a file to the first free `<name>.damaged-<n>`, durably."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    with storage_errors(aside, "keep a copy of a damaged journal"):
        content = path.open("rb")
    with content:
        replace_file(aside, lambda copy: shutil.copyfileobj(content, copy))
    faultpoints.hit("recovery.quarantined")
    return aside


def _rewrite(path: Path, header: JournalHeader, records: list[Record]) -> None:
    content = b"".join([encode_header(header), *map(encode_line, records)])
    replace_file(path, content, points="rewrite")


def _cut(path: Path, length: int) -> None:
    with storage_errors(path, "cut an unfinished write off"), path.open("r+b") as file:
        file.truncate(length)
        os.fsync(file.fileno())


def _lines(number: int) -> str:
    return f"{things(number, 'line')} {'was' if number == 1 else 'were'}"


def _records(records: list[Record]) -> str:
    return things(len(records), "row")


__all__ = ["path_gone", "recover_journal"]
