"""A streamed answer of the OpenAI protocol, collected."""

from __future__ import annotations

from typing import Any

import msgspec

from qfbatch.records import Action, Completion, ErrorKind, Failure, Usage
from qfbatch.service.dialect import Header
from qfbatch.service.fields import usage_of
from qfbatch.service.http_failures import bad_answer
from qfbatch.service.openai_answers import (
    Body,
    Choice,
    ReadPiece,
    accumulate,
    completion_of,
    read_body,
)
from qfbatch.service.openai_errors import HTTP_OK, failure_of
from qfbatch.service.openai_whole import whole_answer
from qfbatch.service.sse import EventParser, EventTooLarge

DONE = b"[DONE]"


class OpenAIStream:
    """Collects the events of one streamed answer.

    The answer is complete when `[DONE]` or a finish reason arrived. Usage comes after the last piece, in an
    event without choices; servers that report it in every event count up, so the last one stands.

    Args:
        read_piece: reads the choices of the route.
        status: HTTP status.
        header: response headers.
        now: seconds since the epoch.
    """

    def __init__(self, read_piece: ReadPiece, status: int, header: Header, *, now: float) -> None:
        self._read_piece = read_piece
        self._status = status
        self._header = header
        self._now = now
        self._parser = EventParser()
        self._whole: bytearray | None = None if status == HTTP_OK else bytearray()
        self._fed = False
        self._pieces: list[str] = []
        self._answered = False  # whether any event had a piece of the answer, be it empty
        self._extra: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._seen = Body()
        self._choice = Choice()
        self._failure: Failure | None = None
        self._done = False

    @property
    def started(self) -> bool:
        """Whether the first piece of the answer, its reasoning included, has arrived."""
        return bool(self._pieces) or bool(self._extra)

    @property
    def ended(self) -> bool:
        """Whether `[DONE]` or an error was seen."""
        return self._done or self._failure is not None

    def feed(self, chunk: bytes) -> None:
        """Take bytes as they arrive."""
        if not self._fed and chunk.strip():
            self._fed = True
            # Errors of a stream request come as plain JSON, pages of gateways as HTML: neither is an event.
            if self._whole is None and chunk.lstrip()[:1] in (b"{", b"<", b"["):
                self._whole = bytearray()
        if self._whole is not None:
            self._whole += chunk
            return
        try:
            for payload in self._parser.feed(chunk):
                self._take(payload)
        except EventTooLarge as error:
            self._failure = self._failure or bad_answer(str(error))

    def finish(self, *, broken: Failure | None = None) -> Completion | Failure:
        """The outcome once the stream has closed; see `StreamDecoder.finish`."""
        if self._whole is not None:
            return broken or whole_answer(
                self._read_piece, self._status, self._header, bytes(self._whole), now=self._now
            )
        for payload in self._parser.finish():
            # Half an event says where the stream was cut, not what is wrong.
            if payload.strip() == DONE or read_body(payload) is not None:
                self._take(payload)
        failure = self._failure
        if failure is None and not self._done and self._choice.finish_reason is None:
            failure = broken or Failure(ErrorKind.TRUNCATED_STREAM, Action.RETRY, _NOT_ENDED)
        if failure is None and not self._answered:
            failure = bad_answer("the stream has no text")
        if failure is not None:
            return msgspec.structs.replace(failure, usage=self._usage)
        return completion_of(self._seen, self._choice, "".join(self._pieces), self._extra, self._usage)

    def _take(self, payload: bytes) -> None:
        if self.ended:
            return
        if payload.strip() == DONE:
            self._done = True
            return
        event = read_body(payload)
        if event is None:
            self._failure = bad_answer("an event of the stream is not a JSON object of the protocol")
            return
        self._failure = failure_of(event, self._status, self._header, now=self._now)
        if self._failure is not None:
            return
        self._usage = usage_of(event.usage) or self._usage
        for name in ("id", "object", "created"):
            value = getattr(event, name)
            if value is not None:
                setattr(self._seen, name, value)
        for choice in event.choices or ():
            if choice.index == 0:
                self._take_choice(choice)

    def _take_choice(self, choice: Choice) -> None:
        piece = self._read_piece(choice)
        if piece is None:
            self._failure = bad_answer("the text of an event is not text")
            return
        if piece.text is not None:
            self._answered = True
            if piece.text:
                self._pieces.append(piece.text)
        if piece.extra:
            self._answered = True
            self._extra = accumulate(self._extra, piece.extra)
        for name in ("finish_reason", "flag", "ban_round"):
            value = getattr(choice, name)
            if value is not None:
                setattr(self._choice, name, value)


_NOT_ENDED = "the stream ended before its end event"
