"""What decoders of event streams share: which bytes are events, and which a whole answer instead.

Services refuse stream requests with plain JSON, gateways answer them with pages, and servers that cannot
stream answer as a whole. None of these is an event, and all of them mean what they mean without a stream.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from qfbatch.records import Action, Completion, ErrorKind, Failure
from qfbatch.service.http_failures import bad_answer
from qfbatch.service.sse import EventParser, EventTooLarge

HTTP_OK = 200
NOT_ENDED = Failure(ErrorKind.TRUNCATED_STREAM, Action.RETRY, "the stream ended before its end event")
_NOT_EVENTS = (b"{", b"<", b"[")  # how JSON and pages begin


class EventStream(ABC):
    """A `StreamDecoder`; a dialect's own says what an event means and what they come to.

    Attributes:
        failure: why the answer cannot be had; once set, nothing more is taken.

    Args:
        status: HTTP status; only 200 has events.
        decode_whole: the outcome of a body that is no stream.
    """

    def __init__(self, status: int, decode_whole: Callable[[bytes], Completion | Failure]) -> None:
        self.failure: Failure | None = None
        self._decode_whole = decode_whole
        self._parser = EventParser()
        self._whole: bytearray | None = None if status == HTTP_OK else bytearray()
        self._blank: bytearray | None = bytearray()  # what came before the first byte that tells anything

    @property
    @abstractmethod
    def started(self) -> bool:
        """Whether the first piece of the answer has arrived."""

    @property
    def ended(self) -> bool:
        """Whether the end event or an error was seen."""
        return self.complete or self.failure is not None

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether the end event was seen."""

    @abstractmethod
    def readable(self, payload: bytes) -> bool:
        """Whether the data of a last event without its blank line is whole."""

    @abstractmethod
    def take(self, payload: bytes) -> None:
        """Take an event's data; not called any more once the stream has `ended`."""

    @abstractmethod
    def outcome(self, broken: Failure | None) -> Completion | Failure:
        """What the events came to.

        Args:
            broken: why the connection failed, if it did.
        """

    def feed(self, chunk: bytes) -> None:
        """Take bytes as they arrive; boundaries may fall anywhere."""
        if self._blank is not None:
            self._blank += chunk
            if not chunk.strip():
                return
            chunk, self._blank = bytes(self._blank), None
            if self._whole is None and chunk.lstrip()[:1] in _NOT_EVENTS:
                self._whole = bytearray()
        if self._whole is not None:
            self._whole += chunk
            return
        try:
            payloads = self._parser.feed(chunk)
        except EventTooLarge as error:
            self.failure = self.failure or bad_answer(str(error))
            return
        for payload in payloads:
            if not self.ended:
                self.take(payload)

    def finish(self, *, broken: Failure | None = None) -> Completion | Failure:
        """The outcome once the stream has closed; see `StreamDecoder.finish`."""
        if self._whole is not None:
            return broken or self._decode_whole(bytes(self._whole))
        for payload in self._parser.finish():
            # Half an event says where the stream was cut, not what is wrong.
            if not self.ended and self.readable(payload):
                self.take(payload)
        return self.outcome(broken)
