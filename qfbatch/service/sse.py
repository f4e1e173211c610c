"""Server-sent events, as far as completions streams need them: bytes in, data payloads out.

Follows the WHATWG "event stream" grammar for `data` fields and tolerates what servers get wrong: `data:`
with or without the space, CR, LF and CRLF, a byte order mark, comments, other fields, events without data
(some servers' heartbeat), a missing last blank line. Chunk boundaries may fall anywhere, also inside a UTF-8
character: only whole events are handed out.
"""

from __future__ import annotations

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_EVENT_BYTES = 16 * 1024 * 1024


class EventTooLarge(ValueError):  # noqa: N818 - reads as the state it reports
    """An event grew beyond `MAX_EVENT_BYTES` without ending."""


class EventParser:
    """Splits a byte stream into the data payloads of its events."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads completed by this chunk, in order.

        Raises:
            EventTooLarge: if an unfinished event exceeds `MAX_EVENT_BYTES`.
        """
        payloads: list[bytes] = []
        if self._after_cr and chunk:
            # The CR at the end of the last chunk already ended its line; a LF now is its second half.
            self._after_cr = False
            chunk = chunk[1:] if chunk[:1] == b"\n" else chunk
        if chunk[-1:] == b"\r":
            self._after_cr = True
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._buffer += chunk
        if b"\n" in chunk:
            *lines, rest = bytes(self._buffer).split(b"\n")
            self._buffer = bytearray(rest)
            for line in lines:
                self._take_line(line, payloads)
        if len(self._buffer) + self._data_bytes > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return payloads

    def finish(self) -> list[bytes]:
        """The payload left when the stream ended without a last blank line, if any."""
        payloads: list[bytes] = []
        if self._buffer:
            self._take_line(bytes(self._buffer), payloads)
            self._buffer.clear()
        self._take_line(b"", payloads)
        return payloads

    def _take_line(self, line: bytes, payloads: list[bytes]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not line:
            if self._data_bytes:
                payloads.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
            self._data = []
            self._data_bytes = 0
        elif line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._data_bytes += len(value)
        # Everything else is a comment or a field (event, id, retry) that completions do not use.
