"""Thrift's compact protocol, as much of it as a Parquet file's footer and page headers are made of.

A struct is its fields, each a byte (how far its number is from the last one's, and its type) and a value,
then a zero; whole numbers are zigzag varints:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_MORE = 0x80  # the highest bit of a number's byte: more of them follow
_LONG_LIST = 15  # in a list's first byte: its length does not fit there and follows


def read_struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """The struct that begins at `at`, values by field number, and where it ends.

    Raises:
        IndexError: the data end before it does.
        ValueError: it is no such struct.
    """
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:  # no distance: the field's number follows
            number, at = read_integer(data, at)
        kind = head & 0x0F
        if _I16 <= kind <= _I64:  # as `read_integer`, in half the time: a large export reads 100,000 of them
            byte = data[at]
            at += 1
            value, shift = byte & 0x7F, 7
            while byte >= _MORE:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
            fields[number] = (value >> 1) ^ -(value & 1)
        elif kind == _STRUCT:
            fields[number], at = read_struct(data, at)
        else:
            fields[number], at = _value(data, at, kind)
    return fields, at + 1


def field_ends(data: bytes, at: int) -> dict[int, int]:
    """Where each field of the struct that begins at `at` ends, by field number; raises as `read_struct`."""
    ends: dict[int, int] = {}
    number = 0
    while head := data[at]:
        number, at = (number + (head >> 4), at + 1) if head >> 4 else read_integer(data, at + 1)
        _, at = _value(data, at, head & 0x0F)
        ends[number] = at
    return ends


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if _I16 <= kind <= _I64:
        return read_integer(data, at)
    if kind == _BINARY:
        size, at = _varint(data, at)
        return data[at : at + size], at + size
    if kind == _STRUCT:
        return read_struct(data, at)
    if kind in (_LIST, _SET):
        return _list(data, at)
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in (_BYTE, _DOUBLE):
        size = 1 if kind == _BYTE else 8
        return data[at : at + size], at + size
    raise ValueError(f"type {kind} at byte {at} is none that Parquet uses")


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    size, kind = data[at] >> 4, data[at] & 0x0F
    at += 1
    if size == _LONG_LIST:
        size, at = _varint(data, at)
    values = []
    for _ in range(size):
        # Alone a truth value is told by its type; in a list it has a byte.
        value, at = _value(data, at, _BYTE if kind in (_TRUE, _FALSE) else kind)
        values.append(value)
    return values, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        if byte < _MORE:
            return number | byte << shift, at
        number |= (byte & 0x7F) << shift
        shift += 7


def read_integer(data: bytes, at: int) -> tuple[int, int]:
    """The whole number that begins at `at`, and where it ends; raises as `read_struct`."""
    number, at = _varint(data, at)
    return (number >> 1) ^ -(number & 1), at


class Struct:
    """A struct being written; fields in the order of their numbers."""

    def __init__(self, written: bytes = b"", last: int = 0) -> None:
        """Begin one, or go on after fields already written up to number `last`."""
        self._bytes = bytearray(written)
        self._last = last

    def integer(self, number: int, value: int) -> Struct:
        """Add a whole number of 64 bits."""
        return self._add(number, _I64, _zigzag(value))

    def enum(self, number: int, value: int) -> Struct:
        """Add a whole number of 32 bits, which is what names of a fixed set are."""
        return self._add(number, _I32, _zigzag(value))

    def binary(self, number: int, value: bytes) -> Struct:
        """Add bytes."""
        return self._add(number, _BINARY, _as_varint(len(value)) + value)

    def struct(self, number: int, value: bytes) -> Struct:
        """Add a struct that is written."""
        return self._add(number, _STRUCT, value)

    def structs(self, number: int, values: Iterable[bytes]) -> Struct:
        """Add a list of structs that are written."""
        return self._add(number, _LIST, _as_list(_STRUCT, list(values)))

    def enums(self, number: int, values: Iterable[int]) -> Struct:
        """Add a list of whole numbers of 32 bits."""
        return self._add(number, _LIST, _as_list(_I32, [_zigzag(value) for value in values]))

    def texts(self, number: int, values: Iterable[str]) -> Struct:
        """Add a list of texts."""
        texts = [value.encode() for value in values]
        return self._add(number, _LIST, _as_list(_BINARY, [_as_varint(len(text)) + text for text in texts]))

    def end(self, rest: bytes = b"\0") -> bytes:
        """The struct; `rest` are further fields already written, and the zero that ends it."""
        return bytes(self._bytes) + rest

    def _add(self, number: int, kind: int, value: bytes) -> Struct:
        self._bytes.append((number - self._last) << 4 | kind)
        self._bytes += value
        self._last = number
        return self


def _as_list(kind: int, values: list[bytes]) -> bytes:
    size = len(values)
    head = bytes([size << 4 | kind]) if size < _LONG_LIST else bytes([0xF0 | kind]) + _as_varint(size)
    return head + b"".join(values)


def _zigzag(value: int) -> bytes:
    return _as_varint(value << 1 ^ value >> 63)


def _as_varint(value: int) -> bytes:
    written = bytearray()
    while value >= _MORE:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


__all__ = ["Struct", "field_ends", "read_integer", "read_struct"]
