"""Reading a request's body and writing an answer: ASGI, JSON and events, whatever the dialect."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from qfbatch.server.dialect import Dialect
from qfbatch.server.engine import Refusal

BODY_LIMIT = 16 * 1024 * 1024  # bytes of a request body
_DISCARD_LIMIT = 256 * 1024 * 1024  # beyond the body limit so much is read and dropped, so the answer arrives
JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")
CLOSE = (b"connection", b"close")
ALLOW_POST = (b"allow", b"POST")

encode = msgspec.json.Encoder().encode


def event_of(payload: Any) -> bytes:
    """One event of a stream, exactly as `data: {json}` and an empty line.

    Args:
        payload: a JSON value.
    """
    return b"data: %b\n\n" % encode(payload)


class HungUp(Exception):  # noqa: N818 - reads as the event it reports
    """The client went away before its request was complete."""


class BodyTooLarge(Exception):  # noqa: N818 - reads as the state it reports
    """The request's body is larger than `BODY_LIMIT`."""


async def read_body(receive: Receive) -> bytes:
    """The whole request body.

    Raises:
        HungUp: the client went away.
        BodyTooLarge: it is beyond the limit; it has been read and dropped, never held.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message["body"]
        if len(body) <= BODY_LIMIT:
            return body
    chunks: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        size += len(message["body"])
        if size <= BODY_LIMIT:
            chunks.append(message["body"])
        else:
            chunks.clear()
        if not message.get("more_body") or size > _DISCARD_LIMIT:
            if size > BODY_LIMIT:
                raise BodyTooLarge
            return b"".join(chunks)
        message = await receive()
    raise HungUp


async def until_hang_up(receive: Receive) -> None:
    """Return once the client has gone; only after its body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Reply:
    """One answer: either a single JSON body, or events.

    Args:
        scope: the ASGI request.
        send: where to.
        dialect: whose words errors are said in.

    Attributes:
        headers: sent along with whatever is answered.
        response_id: the answer's id, once there is one.
        started: something has been sent.
        intact: a whole answer has been sent.
    """

    __slots__ = ("dialect", "headers", "intact", "response_id", "scope", "send", "started")

    def __init__(self, scope: Scope, send: Send, dialect: Dialect) -> None:
        self.scope = scope
        self.send = send
        self.dialect = dialect
        self.response_id = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.started = False
        self.intact = False

    async def start(self, status: int, content_type: tuple[bytes, bytes], length: int | None) -> None:
        """Send the status line and headers.

        Args:
            status: HTTP status.
            content_type: the header.
            length: of the body in bytes; None sends it in chunks.
        """
        self.started = True
        headers = [content_type, *self.headers]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a part of the body.

        Args:
            body: the part.
            more: False ends the answer.
        """
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def json(self, payload: Any, *, status: int = 200) -> None:
        """Answer with one JSON value."""
        await self.body(encode(payload), JSON, status=status)

    async def body(self, body: bytes, content_type: tuple[bytes, bytes], *, status: int = 200) -> None:
        """Answer with bytes."""
        await self.start(status, content_type, len(body))
        await self.write(body, more=False)
        self.intact = True

    async def events(self, events: bytes, *, last: bool) -> None:
        """Send the next events of a stream.

        Args:
            events: whole ones.
            last: they end the stream.
        """
        if not self.started:
            await self.start(200, EVENTS, None)
        await self.write(events, more=not last)
        self.intact = last

    async def refuse(self, refusal: Refusal, *, status: int | None = None) -> None:
        """Answer with an error: plain JSON, or the last event of a stream that has begun.

        Args:
            refusal: the error.
            status: HTTP status, where it is not the dialect's own.
        """
        usual, payload = self.dialect.failure(refusal, self.response_id)
        if self.started:
            await self.events(event_of(payload), last=True)
        else:
            await self.json(payload, status=usual if status is None else status)
        self.intact = False


__all__ = [
    "ALLOW_POST",
    "BODY_LIMIT",
    "CLOSE",
    "EVENTS",
    "JSON",
    "BodyTooLarge",
    "HungUp",
    "Reply",
    "encode",
    "event_of",
    "read_body",
    "until_hang_up",
]
