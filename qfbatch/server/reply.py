"""Reading a request's body and writing an answer: ASGI, JSON and events, no dialect."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

BODY_LIMIT = 16 * 1024 * 1024  # bytes of a request body
_DISCARD_LIMIT = 256 * 1024 * 1024  # beyond the body limit so much is read and dropped, so the answer arrives
JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")
CLOSE = (b"connection", b"close")

encode = msgspec.json.Encoder().encode


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

    Attributes:
        headers: sent along with whatever is answered.
        started: something has been sent.
        intact: a whole answer has been sent.
    """

    __slots__ = ("headers", "intact", "scope", "send", "started")

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.send = send
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

    async def event(self, payload: Any, *, last: bool) -> None:
        """Send the next event of a stream, exactly as `data: {json}` and an empty line.

        Args:
            payload: a JSON value.
            last: ends the stream.
        """
        if not self.started:
            await self.start(200, EVENTS, None)
        await self.write(b"data: %b\n\n" % encode(payload), more=not last)
        self.intact = last


__all__ = [
    "BODY_LIMIT",
    "CLOSE",
    "EVENTS",
    "JSON",
    "BodyTooLarge",
    "HungUp",
    "Reply",
    "encode",
    "read_body",
    "until_hang_up",
]
