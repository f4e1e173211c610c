"""How each fault looks on the wire."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

from starlette.types import Receive

from qfbatch.server.connection import connection_of
from qfbatch.server.engine import Refusal
from qfbatch.server.refusals import V2_ERRORS
from qfbatch.server.reply import EVENTS, JSON, Reply, encode, until_hang_up
from qfbatch.server.scripted.grammar import Fault

_HTML = (b"content-type", b"text/html; charset=utf-8")
_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>\n"
)
# No field of any protocol has the type it should have.
_WRONG_TYPES = {
    "id": 7,
    "object": None,
    "created": "now",
    "result": ["x"],
    "choices": {"text": 1},
    "usage": "many",
    "is_end": "no",
}
_DROPS = frozenset({"drop", "close", "drop_after_headers", "hang"})
_SPOILING = frozenset({"half_body", "slow", "cut_stream", "reset_stream", "stream_error"})


async def misbehave(fault: Fault, reply: Reply, receive: Receive, *, now: float) -> Reply | None:
    """Answer by a fault, or make ready to spoil the answer.

    Args:
        fault: what is to go wrong.
        reply: the honest reply.
        receive: tells when the client is gone.
        now: unix seconds.

    Returns:
        The reply that spoils the answer on its way; None where the fault was the whole answer.
    """
    if fault.kind in _SPOILING:
        return SpoiltReply(reply, fault)
    if fault.retry_after:
        reply.headers.append((b"retry-after", _retry_after(fault.retry_after, now)))
    if fault.kind == "error":
        await reply.refuse(Refusal(fault.number))
    elif fault.kind in V2_ERRORS:
        await reply.refuse(Refusal(V2_ERRORS[fault.kind].v1, name=fault.kind))
    elif fault.kind == "http":
        await reply.json(reply.dialect.http_failure(fault.number), status=fault.number)
    elif fault.kind in _DROPS:
        await _drop(fault, reply, receive)
    elif fault.kind == "html":
        await reply.body(_PAGE, _HTML, status=fault.status)
    else:
        bodies = {
            "invalid_json": b'{"id":"as-1","result":"cut he',
            "wrong_types": encode(_WRONG_TYPES),
            "not_object": b"[1,2,3]",
            "empty_body": b"",
        }
        await reply.body(bodies[fault.kind], JSON)
    return None


async def _drop(fault: Fault, reply: Reply, receive: Receive) -> None:
    connection = connection_of(reply.scope)
    if fault.kind == "hang":
        await until_hang_up(receive)
    elif fault.kind == "drop":
        connection.reset()
    else:
        if fault.kind == "drop_after_headers":
            await reply.start(200, JSON, 1000)
        connection.close()


def _retry_after(value: str, now: float) -> bytes:
    """The header: seconds as given, or `date:SECONDS` as an HTTP date so far ahead."""
    kind, colon, seconds = value.partition(":")
    return (
        formatdate(now + float(seconds), usegmt=True).encode() if colon and kind == "date" else value.encode()
    )


class SpoiltReply(Reply):
    """A reply that spoils a good answer while sending it.

    Args:
        reply: the honest reply it stands for.
        fault: how to spoil it.
    """

    __slots__ = ("_fault", "_honest", "_said")

    def __init__(self, reply: Reply, fault: Fault) -> None:
        super().__init__(reply.scope, reply.send, reply.dialect)
        self.headers = reply.headers
        self.response_id = reply.response_id
        self._honest = reply
        self._fault = fault
        self._said = 0

    async def start(self, status: int, content_type: tuple[bytes, bytes], length: int | None) -> None:
        """Send the head; from then on errors are events, for the honest reply too."""
        self._honest.started = True
        await super().start(status, content_type, length)

    async def body(self, body: bytes, content_type: tuple[bytes, bytes], *, status: int = 200) -> None:
        """Spoil a single body."""
        fault = self._fault
        if fault.kind == "slow":
            await super().body(body, content_type, status=status)
        elif fault.kind == "stream_error":
            await self._honest.refuse(Refusal(fault.code))
        else:
            await self.start(status, content_type, len(body))
            await self._send(body[: len(body) // 2], more=True)
            self._break(reset=fault.kind == "reset_stream")

    async def events(self, events: bytes, *, last: bool) -> None:
        """Spoil a stream from its `after`th event on; what ends it counts as one."""
        fault = self._fault
        if self._said < 0:
            return
        self._said += 1
        if fault.kind == "slow" or (self._said <= fault.after and not last):
            await super().events(events, last=last)
            return
        self._said = -1
        if fault.kind == "stream_error":
            await self._honest.refuse(Refusal(fault.code))
            return
        if not self.started:
            await self.start(200, EVENTS, None)
        if fault.kind == "cut_stream":
            await self._send(b"", more=False)
        else:
            await self._send(events[: len(events) // 2], more=True)
            self._break(reset=fault.kind == "reset_stream")

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send, a few bytes at a time where the fault is `slow`."""
        fault = self._fault
        if fault.kind == "slow":
            for start in range(0, len(body) - fault.bytes, fault.bytes):
                await self._send(body[start : start + fault.bytes], more=True)
                await asyncio.sleep(fault.gap)
            body = body[(len(body) - 1) // fault.bytes * fault.bytes :] if body else body
        await self._send(body, more=more)

    async def _send(self, body: bytes, *, more: bool) -> None:
        await super().write(body, more=more)

    def _break(self, *, reset: bool) -> None:
        connection = connection_of(self.scope)
        if reset:
            connection.reset()
        else:
            connection.close()


__all__ = ["SpoiltReply", "misbehave"]
