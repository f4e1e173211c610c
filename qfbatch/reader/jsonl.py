"""Rows from JSON lines: one JSON object a line, UTF-8."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec

from qfbatch.errors import InputError
from qfbatch.reader.bytestream import PIECE_BYTES, Tap, text_bytes
from qfbatch.reader.files import InputFile
from qfbatch.reader.kinds import seen_in_rows
from qfbatch.template import quoted

MAX_LINE_BYTES = 64 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_DECODER = msgspec.json.Decoder(dict[str, Any])
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Lines(NamedTuple):
    """Consecutive lines without their line ends.

    Attributes:
        first: number of the first one, from 1.
        offset: its byte offset in the decompressed file.
        lines: the lines; blank ones included.
    """

    first: int
    offset: int
    lines: list[bytes]


@dataclass(frozen=True, slots=True)
class JsonlBlock:
    """See `blocks.Block`; rows hold all their columns."""

    rows: list[dict[str, Any]]
    numbers: Sequence[int]
    offsets: Sequence[int]
    problems: Sequence[InputError]

    def seen(self) -> dict[str, int]:
        """See `blocks.Block.seen`."""
        return seen_in_rows(self.rows)


def jsonl_blocks(file: InputFile, *, tap: Tap | None = None) -> Iterator[JsonlBlock]:
    """The rows of a file; bad lines are problems of their block.

    Raises:
        InputError: the file cannot be read on: damaged compression, a line without end.
    """
    for lines in split_lines(file.name, text_bytes(file, tap=tap)):
        yield decode_block(file.name, lines)


def split_lines(
    source_file: str, pieces: Iterable[bytes], *, first: int = 1, offset: int = 0
) -> Generator[Lines]:
    """Cuts bytes into lines; a byte order mark before line 1 is dropped.

    Raises:
        InputError: a line is longer than `MAX_LINE_BYTES`.
    """
    pending: list[bytes] = []  # of a line whose end has not come yet
    pending_bytes = 0
    for piece in pieces:
        cut = piece.rfind(b"\n") + 1
        pending_bytes += cut or len(piece)
        if pending_bytes > MAX_LINE_BYTES:
            raise InputError(
                f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB",
                source_file=source_file,
                source_row=first,
                hint="JSONL holds one JSON object a line; is this file one large JSON document?",
            )
        if not cut:
            pending.append(piece)
            continue
        pending.append(piece[: cut - 1])
        block = _block(first, offset, b"".join(pending))
        yield block
        first += len(block.lines)
        offset += pending_bytes
        pending, pending_bytes = ([piece[cut:]], len(piece) - cut) if cut < len(piece) else ([], 0)
    if pending:
        yield _block(first, offset, b"".join(pending))


def decode_block(source_file: str, lines: Lines) -> JsonlBlock:
    """Decodes lines; blank ones are left out, bad ones become problems."""
    offsets = list(accumulate(map((1).__add__, map(len, lines.lines)), initial=lines.offset))
    rows = _decode_all(lines)
    if rows is None:
        return _decode_one_by_one(source_file, lines, offsets)
    return JsonlBlock(rows, range(lines.first, lines.first + len(rows)), offsets, ())


class JsonlRows:
    """See `blocks.RowStream`; `start` is a line number.

    Args:
        file: the file.
        first: the line to start with.
        offset: where it starts, in an uncompressed file; elsewhere lines before it are read and dropped.
        size: bytes to read of an uncompressed file at once.
    """

    def __init__(self, file: InputFile, *, first: int = 1, offset: int = 0, size: int = PIECE_BYTES) -> None:
        self._source_file = file.name
        pieces = text_bytes(file, offset=offset, size=size)
        self._blocks = split_lines(file.name, pieces, first=first, offset=offset)
        self._lines = Lines(first, offset, [])

    @property
    def position(self) -> int:
        """See `blocks.RowStream.position`."""
        return self._lines.first

    def can_reach(self, start: int) -> bool:
        """See `blocks.RowStream.can_reach`: any line not passed yet."""
        return self._lines.first <= start

    def take(self, start: int, rows: int) -> tuple[list[int], list[dict[str, Any]]]:
        """See `blocks.RowStream.take`."""
        numbers: list[int] = []
        taken: list[dict[str, Any]] = []
        while self._lines.first < start and self._fill():
            self._pass(start - self._lines.first)
        while len(taken) < rows and self._fill():
            lines = self._pass(rows - len(taken))
            if (good := _decode_all(lines)) is not None:
                numbers += range(lines.first, lines.first + len(good))
                taken += good
                continue
            block = decode_block(self._source_file, lines)
            if block.problems:
                raise block.problems[0]
            numbers += block.numbers
            taken += block.rows
        return numbers, taken

    def close(self) -> None:
        """See `blocks.RowStream.close`."""
        self._blocks.close()

    def _fill(self) -> bool:
        if not self._lines.lines:
            self._lines = next(self._blocks, self._lines)
        return bool(self._lines.lines)

    def _pass(self, count: int) -> Lines:
        """Up to `count` of the lines at hand, which are behind us then."""
        first, offset, lines = self._lines
        passed = lines[:count]
        self._lines = Lines(first + len(passed), offset, lines[count:])
        return Lines(first, offset, passed)


def _block(first: int, offset: int, text: bytes) -> Lines:
    if first == 1 and text.startswith(_BOM):
        return Lines(first, offset + len(_BOM), text[len(_BOM) :].split(b"\n"))
    return Lines(first, offset, text.split(b"\n"))


def _decode_all(lines: Lines) -> list[dict[str, Any]] | None:
    """The rows of lines of which each is one; None where any is blank or bad."""
    try:
        return list(map(_DECODER.decode, lines.lines))
    except _UNDECODABLE:
        return None


def _decode_one_by_one(source_file: str, lines: Lines, offsets: Sequence[int]) -> JsonlBlock:
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    starts: list[int] = []
    problems: list[InputError] = []
    for number, offset, line in zip(
        range(lines.first, lines.first + len(lines.lines)), offsets, lines.lines, strict=False
    ):
        if not line.strip():
            continue
        try:
            rows.append(_DECODER.decode(line))
        except _UNDECODABLE as error:
            message, hint = _explain(line, error)
            problems.append(InputError(message, source_file=source_file, source_row=number, hint=hint))
        else:
            numbers.append(number)
            starts.append(offset)
    return JsonlBlock(rows, numbers, starts, problems)


def _explain(line: bytes, error: Exception) -> tuple[str, str]:
    """What is wrong with a line, and the next step."""
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is UTF-16, not UTF-8", "Save the file as UTF-8."
    try:
        return _explain_text(line.decode(), error)
    except UnicodeDecodeError as wrong:
        return f"is not UTF-8 (byte {wrong.start + 1} of the line)", "Save the file as UTF-8."
    except RecursionError:
        return "is nested too deeply", ""


def _explain_text(text: str, error: Exception) -> tuple[str, str]:
    """What is wrong with a line of text; the standard decoder says it better than the fast one."""
    try:
        value = json.loads(text, parse_constant=_no_json)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as wrong:
        return f"is not valid JSON: {wrong.msg} at character {wrong.pos + 1}", ""
    except UnicodeEncodeError:
        return r"is not valid JSON: half a character (a lone surrogate such as \ud800)", ""
    except _NoJsonError as wrong:
        return f"is not valid JSON: {wrong} is no number in JSON", "Write null instead."
    except ValueError:  # Python's limit on the digits of an int
        return "holds a number with too many digits", "Write it as a string."
    if not isinstance(value, dict):
        return 'must be a JSON object, like {"prompt": "…"}', ""
    return _explain_object(value, error)


def _explain_object(value: dict[str, Any], error: Exception) -> tuple[str, str]:
    """What is wrong with an object that the standard decoder reads."""
    for name, part in value.items():
        try:
            json.dumps(part, allow_nan=False)
        except ValueError:  # infinite: what a number too large becomes
            return f"column {quoted(name)} holds a number that is too large", "Write it as a string."
    return f"cannot be read as JSON: {str(error).split(' - at ')[0]}", ""


class _NoJsonError(Exception):
    """NaN or Infinity, which the standard decoder would let pass."""


def _no_json(constant: str) -> Any:
    raise _NoJsonError(constant)
