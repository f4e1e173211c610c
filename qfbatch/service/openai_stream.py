"""A streamed answer of the OpenAI protocol, collected."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from qfbatch.records import Completion, Failure, Usage
from qfbatch.service.dialect import Header
from qfbatch.service.event_stream import NOT_ENDED, EventStream
from qfbatch.service.fields import usage_of
from qfbatch.service.http_failures import bad_answer
from qfbatch.service.openai_answers import (
    FAILED,
    Body,
    Choice,
    ReadPiece,
    accumulate,
    completion_of,
    read_body,
)
from qfbatch.service.openai_errors import BROKEN_OFF, failure_of
from qfbatch.service.openai_whole import whole_answer

DONE = b"[DONE]"


class OpenAIStream(EventStream):
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
        super().__init__(status, lambda body: whole_answer(read_piece, status, header, body, now=now))
        self._read_piece = read_piece
        self._failure_of = partial(failure_of, status=status, header=header, now=now)
        self._pieces: list[str] = []
        self._answered = False  # whether any event had a piece of the answer, be it empty
        self._extra: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._seen = Body()
        self._choice = Choice()
        self._done = False

    @property
    def started(self) -> bool:
        """Whether the first piece of the answer, its reasoning included, has arrived."""
        return bool(self._pieces) or bool(self._extra)

    @property
    def complete(self) -> bool:
        """Whether `[DONE]` was seen; after a finish reason, the usage is still to come."""
        return self._done

    def readable(self, payload: bytes) -> bool:
        """Whether this is `[DONE]` or an object; see `EventStream.readable`."""
        return payload.strip() == DONE or read_body(payload) is not None

    def outcome(self, broken: Failure | None) -> Completion | Failure:
        """The answer, or why there is none; see `EventStream.outcome`."""
        failure = self.failure
        if failure is None and not self._done and self._choice.finish_reason is None:
            failure = broken or NOT_ENDED
        if failure is None and not self._answered:
            failure = bad_answer("the stream has no text")
        if failure is None and self._choice.finish_reason == FAILED:
            failure = BROKEN_OFF
        if failure is not None:
            return msgspec.structs.replace(failure, usage=self._usage)
        return completion_of(self._seen, self._choice, "".join(self._pieces), self._extra, self._usage)

    def take(self, payload: bytes) -> None:
        """Take an event; see `EventStream.take`."""
        if payload.strip() == DONE:
            self._done = True
            return
        event = read_body(payload)
        if event is None:
            self.failure = bad_answer("an event of the stream is not a JSON object of the protocol")
            return
        self.failure = self._failure_of(event)
        if self.failure is not None:
            return
        self._usage = usage_of(event.usage) or self._usage
        for name in ("id", "object", "created"):
            value = getattr(event, name)
            if value is not None:
                setattr(self._seen, name, value)
        for choice in event.choices or ():
            if not choice.index:  # some servers leave it out, or null
                self._take_choice(choice)

    def _take_choice(self, choice: Choice) -> None:
        piece = self._read_piece(choice)
        if piece is None:
            self.failure = bad_answer("the text of an event is not text")
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
