"""A file's bytes, decompressed, in pieces of bounded size."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

from qfbatch.errors import InputError
from qfbatch.reader.files import Format, InputFile
from qfbatch.reader.sources import Source

PIECE_BYTES = 256 * 1024  # fits the processor's cache; measured best between 64 KiB and 4 MiB
_COMPRESSED_BYTES = 16 * 1024  # a piece is decompressed in one go: this bounds what it can become

Tap = Callable[[bytes], None]


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool:
        """Whether the compressed stream has ended; bytes after it are `unused_data`."""

    @property
    def unused_data(self) -> bytes:
        """What came after the end of the stream: another one, where files were put one after the other."""

    def decompress(self, data: bytes, /) -> bytes:
        """The bytes that these give, together with what came before."""


def file_bytes(source: Source, *, size: int = PIECE_BYTES, offset: int = 0) -> Iterator[bytes]:
    """A file's bytes as they are stored, from `offset` on."""
    return source.pieces(size, offset)


def text_bytes(
    file: InputFile, *, offset: int = 0, size: int = PIECE_BYTES, tap: Tap | None = None
) -> Iterator[bytes]:
    """A JSONL file's bytes after decompression, in pieces of at most `PIECE_BYTES`.

    Args:
        file: the file.
        offset: where to start, in an uncompressed file.
        size: of the pieces of an uncompressed file, where less than `PIECE_BYTES` will do.
        tap: is given every piece as it is on disk.

    Raises:
        InputError: the file cannot be read, or its compressed data is damaged or cut off.
    """
    try:
        match file.format:
            case Format.JSONL_GZ:
                yield from _decompressed(_tapped(file.source(), _COMPRESSED_BYTES, 0, tap), _gzip_member)
            case Format.JSONL_ZST:
                yield from _decompressed(_tapped(file.source(), _COMPRESSED_BYTES, 0, tap), _zstd_frame)
            case _:
                yield from _tapped(file.source(), size, offset, tap)
    except EOFError:
        raise InputError(
            "the compressed data is cut off", source_file=file.name, hint="Copy or compress the file again."
        ) from None
    except (zlib.error, zstandard.ZstdError) as error:
        raise InputError(
            f"the compressed data is damaged ({error})",
            source_file=file.name,
            hint="Copy or compress the file again.",
        ) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source_file=file.name) from error


def _tapped(source: Source, size: int, offset: int, tap: Tap | None) -> Iterator[bytes]:
    for piece in file_bytes(source, size=size, offset=offset):
        if tap:
            tap(piece)
        yield piece


def _decompressed(pieces: Iterator[bytes], start: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Decompresses members (gzip) or frames (zstd), any number of them one after the other."""
    member: _Decompressor | None = None
    for piece in pieces:
        data = piece
        while data:
            if member is None:
                data = data.lstrip(b"\0")  # gzip files may be padded; no member or frame starts with zeros
                if not data:
                    break
                member = start()
            text = member.decompress(data)
            for begin in range(0, len(text), PIECE_BYTES):
                yield text[begin : begin + PIECE_BYTES]
            data = b""
            if member.eof:
                data, member = member.unused_data, None
    if member is not None:
        raise EOFError


def _gzip_member() -> _Decompressor:
    return zlib.decompressobj(wbits=31)


def _zstd_frame() -> _Decompressor:
    return zstandard.ZstdDecompressor().decompressobj()
