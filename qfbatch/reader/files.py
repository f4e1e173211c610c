"""Which files the input consists of: the job's paths, folders and globs, resolved in a fixed order."""

from __future__ import annotations

import difflib
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from qfbatch.errors import InputError, StorageError
from qfbatch.reader.objects import named_objects
from qfbatch.reader.sources import Source, bucket_store, source_at
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import SCHEME, is_stored, parse_address


class Format(StrEnum):
    """How a file holds its rows; the value is its suffix."""

    JSONL = ".jsonl"
    JSONL_GZ = ".jsonl.gz"
    JSONL_ZST = ".jsonl.zst"
    PARQUET = ".parquet"


_SUFFIXES = {
    **{str(form): form for form in Format},
    ".ndjson": Format.JSONL,
    ".ndjson.gz": Format.JSONL_GZ,
    ".ndjson.zst": Format.JSONL_ZST,
}
_SUPPORTED = ", ".join(_SUFFIXES)
_SEPARATORS = {".csv": ",", ".tsv": "\\t"}  # of tables, as they are written in Python


class InputFile(NamedTuple):
    """A file to read.

    Attributes:
        name: as the job's path spells it, with `/` between folders; `source_file` in the results.
        path: where it is, absolute.
        format: how it holds its rows.
        size: bytes.
        access: to object storage, for what is there.
    """

    name: str
    path: str
    format: Format
    size: int
    access: StorageAccess = StorageAccess()

    def source(self) -> Source:
        """Where its bytes come from."""
        return source_at(self.path, self.access)


def find_files(paths: Sequence[str], access: StorageAccess) -> list[InputFile]:
    """The input files in reading order: entry by entry, sorted within a folder or glob, each file once.

    Args:
        paths: as in the job file.
        access: to object storage.

    Raises:
        InputError: a path does not exist, a pattern or folder matches nothing, a folder cannot be read, or a
            file is not supported.
    """
    files: dict[str, InputFile] = {}
    for entry in paths:
        for file in _objects(entry, access) if is_stored(entry) else _entry(entry):
            files.setdefault(file.path if is_stored(file.path) else os.path.realpath(file.path), file)
    if not files:
        raise InputError("the job names no input", hint="Give `input.path` a file, a folder or a pattern.")
    return list(files.values())


def format_of(name: str) -> Format | None:
    """The format a file's name stands for, in upper or lower case; None where it is not supported."""
    lower = name.lower()
    return next((form for suffix, form in _SUFFIXES.items() if lower.endswith(suffix)), None)


def unsupported_hint(name: str) -> str:
    """What to do about a file of a kind that is not supported: for a table, how to make it one that is."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - as above
    separator = _SEPARATORS.get(suffix.lower())
    if separator is None:
        return f"Supported are {_SUPPORTED}."
    read = f"polars.read_csv({name!r}, separator='{separator}', infer_schema=False)"
    code = f"import polars; {read}.write_ndjson({stem + '.jsonl'!r})"
    return f'Supported are {_SUPPORTED}. To convert it: python -c "{code}"'


def _entry(entry: str) -> Iterator[InputFile]:
    if "://" in entry:
        raise InputError(
            f"{entry}: neither a local path nor object storage", hint="Write a path, or s3://bucket/key."
        )
    path = os.path.expanduser(entry)  # noqa: PTH111 - Path would drop a leading "./" of the user's spelling
    if os.path.isdir(path):  # noqa: PTH112 - as above
        yield from _folder(path)
    elif os.path.lexists(path):
        yield _file(path)
    elif glob.has_magic(path):
        yield from _pattern(path)
    else:
        raise InputError(f"{entry}: no such file or folder", hint=_nearest(path))


def _objects(entry: str, access: StorageAccess) -> Iterator[InputFile]:
    """The objects an `s3://` entry names; below a prefix, those of a supported kind."""
    address = parse_address(entry)
    try:
        found = named_objects(bucket_store(address.bucket, access), address)
    except StorageError as error:
        raise InputError(error.message, hint=error.hint) from error
    below_prefix = not glob.has_magic(address.key) and [info.key for info in found] != [address.key]
    some = False
    for info in found:
        name = f"{SCHEME}{address.bucket}/{info.key}"
        form = format_of(name)
        if form is not None:
            some = True
            yield InputFile(name, name, form, info.size, access)
        elif not below_prefix:
            raise InputError(
                f"{name}: this kind of file is not supported", hint=f"Supported are {_SUPPORTED}."
            )
    if not some:
        raise InputError(f"{entry}: no supported object is there", hint=f"Supported are {_SUPPORTED}.")


def _folder(folder: str) -> Iterator[InputFile]:
    """Supported files below a folder; hidden ones and links to folders are left out."""
    names = []
    for parent, folders, files in os.walk(folder, onerror=_cannot_be_read):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names += [
            os.path.join(parent, name)  # noqa: PTH118 - keeps the user's spelling of the folder
            for name in files
            if not name.startswith(".") and format_of(name)
        ]
    if not names:
        raise InputError(f"{folder}: the folder holds no supported file", hint=f"Supported are {_SUPPORTED}.")
    yield from map(_file, sorted(names, key=_posix))


def _cannot_be_read(error: OSError) -> None:
    """What `os.walk` would pass over in silence, and with it all rows of that folder."""
    raise InputError(
        f"{_posix(error.filename)}: the folder cannot be read: {error.strerror}",
        hint="Make it readable for this user, or name the files to read in `input.path`.",
    ) from error


def _pattern(pattern: str) -> Iterator[InputFile]:
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - keeps the user's spelling
    names = [name for name in found if not os.path.isdir(name)]  # noqa: PTH112 - as above
    if not names:
        raise InputError(
            f"{pattern}: no file matches",
            hint="Relative patterns start at the current folder; `**` stands for any number of folders.",
        )
    yield from map(_file, sorted(names, key=_posix))


def _file(path: str) -> InputFile:
    name = _posix(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name!r}: the file's name is not valid Unicode", hint="Rename it.") from None
    form = format_of(name)
    if form is None:
        raise InputError(f"{name}: this kind of file is not supported", hint=unsupported_hint(name))
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source_file=name) from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError("is not a regular file; it has to be read more than once", source_file=name)
    return InputFile(name, os.path.abspath(path), form, found.st_size)  # noqa: PTH100 - as above


def _posix(path: str) -> str:
    return path.replace(os.sep, "/")


def _nearest(path: str) -> str:
    """Names a neighbour that may be meant."""
    folder = Path(path).parent
    try:
        neighbours = [entry.name for entry in folder.iterdir()]
    except OSError:
        neighbours = []
    close = difflib.get_close_matches(Path(path).name, neighbours, n=1)
    if close:
        return f"Did you mean {_posix(str(folder / close[0]))}?"
    return "Check `input.path`; relative paths start at the current folder."
