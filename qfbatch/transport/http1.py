"""One HTTP/1.1 connection: a call at a time, its answer put together as it arrives.

The parsing is llhttp's (`httptools`); what stands here is what becomes of its events. Nothing is read ahead
of the reader: a stream whose pieces are not taken stops the connection. HTTP/1.1: RFC 9112.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.http_failures import bad_answer
from qfbatch.transport.headers import readable
from qfbatch.transport.outbox import Outbox
from qfbatch.transport.seam import Answer, TransportError, silent_stream

MAX_HEAD_BYTES = 256 * 1024
BUFFERED_BYTES = 256 * 1024  # of a stream; the connection stops reading until its pieces are taken

LATE = Failure(ErrorKind.TIMEOUT, Action.RETRY, "the answer did not arrive in time")
UNANSWERED = Failure(ErrorKind.CONNECTION, Action.RETRY, "the connection was closed before any answer")
_BROKEN = Failure(ErrorKind.CONNECTION, Action.RETRY, "the connection broke before the answer was complete")
_NOT_HTTP = bad_answer("the answer is not HTTP")
_UNPACKABLE = bad_answer("the answer's body is packed in a way that cannot be unpacked")
_HTTP_OK = 200
_BODILESS = (204, 304)
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class Http1Connection(asyncio.Protocol):
    """A connection to one service.

    Args:
        loop: the running loop.
        outbox: what requests leave by.
        max_body_bytes: of an answer, unpacked.
        on_lost: told when the connection has ended, however it ended.

    Attributes:
        on_header: what the parser calls with a header.
        status: of the answer under way.
        complete: whether that answer has arrived wholly.
        failure: why it never will; None while it may.
        idle_since: loop time since when no call is under way; for the pool.
    """

    __slots__ = (
        "_beside_body",
        "_deadline",
        "_expires_at",
        "_expiry",
        "_headed",
        "_headers",
        "_in_use",
        "_informational",
        "_keep",
        "_loop",
        "_max_body_bytes",
        "_on_lost",
        "_outbox",
        "_parser",
        "_paused",
        "_pieces",
        "_received",
        "_size",
        "_stream",
        "_transport",
        "_unpack",
        "_unread",
        "_unsent",
        "_until_close",
        "_waiter",
        "complete",
        "failure",
        "idle_since",
        "on_header",
        "status",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        outbox: Outbox,
        max_body_bytes: int,
        on_lost: Callable[[Http1Connection], None],
    ) -> None:
        self._loop = loop
        self._outbox = outbox
        self._max_body_bytes = max_body_bytes
        self._on_lost = on_lost
        # Of several headers with one name the first counts. A method of ours would be called for each header
        # of each answer: that takes longer than all else that becomes of a head.
        self._received: dict[bytes, bytes] = {}
        self.on_header = self._received.setdefault
        self._parser = HttpResponseParser(self)
        # What RFC 9112 lets a recipient understand (2.2, 6.3, 7.1.1), and gateways do send.
        self._parser.set_dangerous_leniencies(
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._transport: asyncio.Transport | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._expires_at = 0.0  # when the timer rings; a call that is over leaves it to the next
        self._deadline = 0.0
        self._in_use = False
        self._unsent: bytes | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._keep = True
        self._pieces: deque[bytes] = deque()
        self._headers: Mapping[str, str] = {}
        # Neither of these is ever unset: the connection ends with its call.
        self._until_close = False
        self.failure: Failure | None = None
        self.idle_since = 0.0
        self._begin(stream=False)

    def _begin(self, *, stream: bool) -> None:
        self._stream = stream
        self._received.clear()
        self._beside_body = 0  # bytes since the last of the body: a head, trailers, chunks' own lines
        self._headed = False
        self._informational = False
        self._unpack: zlib._Decompress | None = None
        self._size = 0
        self._unread = 0
        self.status = 0
        self.complete = False

    # What the caller does

    @property
    def lost(self) -> bool:
        """Whether it has ended."""
        return self._transport is None

    @property
    def usable(self) -> bool:
        """Whether a connection that no call is under way on may be used for another."""
        return self._keep and self._transport is not None

    @property
    def reusable(self) -> bool:
        """Whether another call may follow the one that is under way.

        Not after an answer that came before its request was sent: who has refused it may not read the rest.
        """
        transport = self._transport
        return (
            self._keep and self.complete and transport is not None and not transport.get_write_buffer_size()
        )

    def send(self, request: bytes, *, timeout_s: float, stream: bool) -> asyncio.Future[None]:
        """Start a call.

        Args:
            request: head and body.
            timeout_s: for the whole exchange.
            stream: whether the body is taken piece by piece.

        Returns:
            Done as soon as the answer is there wholly, or something of it where it is a stream, or nothing
            will come any more.
        """
        self._begin(stream=stream)
        self._in_use = True
        self._unsent = request
        self._deadline = self._loop.time() + timeout_s
        if self._expiry is None or self._deadline < self._expires_at:
            self._ring_at(self._deadline)
        self._outbox.post(self._write)
        return self._event()

    def answer(self) -> Answer:
        """The whole answer, once it is `complete`."""
        pieces = self._pieces
        body = pieces.popleft() if len(pieces) == 1 else b"".join(pieces)
        return Answer(self.status, self._headers.get, body)

    async def answered(self) -> None:
        """Wait for the whole answer, or for its head where it is taken piece by piece.

        Raises:
            TransportError: if it does not arrive.
        """
        while not (self.complete or (self._headed and self._stream)):
            if self.failure is not None:
                raise TransportError(self.failure)
            await self._event()

    def header(self, name: str) -> str | None:
        """A header by its lower-case name; None where absent, or where it is not ASCII text."""
        return self._headers.get(name)

    async def chunks(self, *, gap_s: float) -> AsyncIterator[bytes]:
        """The body as it arrives; see `Response.chunks`."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._unread -= len(piece)
                if self._paused and self._unread < BUFFERED_BYTES // 2 and self._transport is not None:
                    self._paused = False
                    self._transport.resume_reading()
                yield piece
            if self.failure is not None:
                raise TransportError(self.failure)
            if self.complete:
                return
            silence = self._loop.call_later(gap_s, self._fail, silent_stream(gap_s))
            try:
                await self._event()
            finally:
                silence.cancel()

    def release(self, now: float) -> None:
        """The call is over and the connection free for another."""
        self._in_use = False
        self._pieces.clear()
        if self._paused and self._transport is not None:  # what nobody took is gone
            self._paused = False
            self._transport.resume_reading()
        self.idle_since = now

    def abort(self) -> None:
        """End the connection now, whatever is under way: the service need not go on with it."""
        self._keep = False
        if self._transport is not None:
            self._transport.abort()

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if not self._in_use or self._unsent is not None:
            # Nobody asked yet: this could be taken for the answer to a call that is still to be sent.
            self._fail(UNANSWERED)
            return
        self._beside_body += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail(_NOT_HTTP)
        if self._beside_body > MAX_HEAD_BYTES:
            self._fail(_NOT_HTTP)

    def eof_received(self) -> bool:
        """The service sends nothing more; the connection then closes by itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._transport = None
        self._keep = False
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._in_use and not self.complete:
            if exc is None and self._until_close and self.failure is None:
                self.on_message_complete()
            else:
                self._fail(_BROKEN if self._headed else UNANSWERED)
        self._on_lost(self)

    # What the parser tells

    def on_message_begin(self) -> None:
        """An answer begins; a second one to the same call is none that could be used."""
        if self.complete:
            self._keep = False

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < _HTTP_OK:
            self._informational = True
            self._received.clear()
            return
        self.status = status
        self._headed = True
        headers = self._headers = readable(self._received)
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        if "content-length" in headers:
            self._keep = self._keep and not chunked  # the length is wrong, and who sent it may be, too
        else:
            self._until_close = not chunked and status not in _BODILESS
        packing = headers.get("content-encoding")
        if packing is not None:
            packing = packing.strip().lower()
            if packing in {"gzip", "x-gzip", "deflate"}:
                self._unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
            elif packing not in {"identity", ""}:
                self._fail(_UNPACKABLE)
        if self._stream:
            self._wake()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._beside_body = 0
        if self.complete or self.failure is not None:
            return
        if self._unpack is not None:
            room = self._max_body_bytes - self._size + 1
            try:
                body = self._unpack.decompress(body, room)
            except zlib.error:
                self._fail(_UNPACKABLE)
                return
            if not body:
                return
        self._size += len(body)
        if self._size > self._max_body_bytes:
            what = "stream" if self._stream else "answer"
            self._fail(bad_answer(f"the {what} is larger than {self._max_body_bytes} bytes"))
            return
        self._pieces.append(body)
        if self._stream:
            self._unread += len(body)
            if self._unread > BUFFERED_BYTES and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
            self._wake()

    def on_message_complete(self) -> None:
        """The answer is there wholly."""
        if self._informational:
            self._informational = False
            return
        if self.complete or self.failure is not None:
            return
        if self._unpack is not None and self._size and not self._unpack.eof:
            self._fail(_UNPACKABLE)
            return
        self.complete = True
        self._keep = self._keep and not self._until_close and self._parser.should_keep_alive()
        self._wake()

    # Sending and waiting

    def _write(self) -> None:
        request, self._unsent = self._unsent, None
        if self._transport is not None and request is not None and not self._transport.is_closing():
            self._transport.write(request)

    def _event(self) -> asyncio.Future[None]:
        """Done as soon as something of the answer has arrived, or nothing will."""
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, failure: Failure) -> None:
        """The answer will not be complete; the first reason counts. After its end nothing else may follow."""
        if not self.complete:
            self.failure = self.failure or failure
        self.abort()
        self._wake()

    def _ring_at(self, at: float) -> None:
        """Set the timer. It stays set when calls end in time, as nearly all do: one timer for many calls."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expires_at = at
        self._expiry = self._loop.call_at(at, self._expired)

    def _expired(self) -> None:
        self._expiry = None
        if self._in_use and not self.complete:
            if self._loop.time() < self._deadline:
                self._ring_at(self._deadline)  # it was set for an earlier call
            else:
                self._fail(LATE)
