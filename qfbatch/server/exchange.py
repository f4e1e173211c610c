"""The completions route of any protocol: one request, from its bytes to the last byte of its answer."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from qfbatch.server.auth import Gate
from qfbatch.server.dialect import Dialect
from qfbatch.server.engine import Call, Engine, Refusal
from qfbatch.server.reply import ALLOW_POST, CLOSE, BodyTooLarge, HungUp, Reply, read_body, until_hang_up

_log = logging.getLogger("qfbatch.serve")


class Misbehaviour(Protocol):
    """What stands between a valid call and its honest answer: nothing, or a script of faults."""

    async def admit(self, call: Call, reply: Reply, receive: Receive) -> Reply | None:
        """The reply to answer through, perhaps one that spoils the answer; None where all has been said."""

    def finished(self, call: Call, *, answered: bool) -> None:
        """The call that was passed to `admit` is over; `answered` where a whole good answer was sent."""


class CompletionsRoute:
    """`POST` to a completions path as an ASGI application.

    Args:
        dialect: the protocol spoken there.
        engine: what answers.
        gate: who may call.
        misbehaviour: faults on request; None answers honestly.
        clock: unix seconds.
    """

    def __init__(
        self,
        dialect: Dialect,
        engine: Engine,
        gate: Gate,
        *,
        misbehaviour: Misbehaviour | None,
        clock: Callable[[], float],
    ) -> None:
        self._dialect = dialect
        self._engine = engine
        self._gate = gate
        self._misbehaviour = misbehaviour
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong here is the service's internal error."""
        reply = Reply(scope, send, self._dialect)
        try:
            await self._serve(scope, receive, reply)
        except HungUp:
            return
        except Refusal as refusal:
            await reply.refuse(refusal)
        except Exception:  # noqa: BLE001 - a client is to hear of it in the service's words
            _log.exception("internal error")
            await reply.refuse(Refusal(336000))

    async def _serve(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        if scope["method"] != "POST":
            reply.headers.append(ALLOW_POST)
            raise Refusal(336101)
        try:
            body = await read_body(receive)
        except BodyTooLarge:
            reply.headers.append(CLOSE)
            raise Refusal(336007, "the request body is too large") from None
        token = self._dialect.admit(scope, self._gate)
        call = self._dialect.read(scope, body, token, self._engine)
        reply.response_id = _response_id(call)
        if self._engine.stops_on_hang_up:
            await _unless_hung_up(self._answer(call, reply), receive)
        elif self._misbehaviour is None:
            await self._answer(call, reply)
        else:
            await self._misbehave(self._misbehaviour, call, reply, receive)

    async def _misbehave(
        self, misbehaviour: Misbehaviour, call: Call, reply: Reply, receive: Receive
    ) -> None:
        answered = False
        try:
            spoilt = await misbehaviour.admit(call, reply, receive)
            if spoilt is not None:
                await self._answer(call, spoilt)
                answered = spoilt.intact
        finally:
            misbehaviour.finished(call, answered=answered)

    async def _answer(self, call: Call, reply: Reply) -> None:
        dialect = self._dialect
        response_id = reply.response_id
        created = int(self._clock())
        # A generator that is left early must free its slot now, not when it is collected.
        async with aclosing(self._engine.generate(call)) as pieces:
            if call.stream:
                number = 0
                async for piece in pieces:
                    events = dialect.events(
                        call, piece, number=number, response_id=response_id, created=created
                    )
                    await reply.events(events, last=piece.finish is not None)
                    number += 1
            else:
                texts = []
                async for piece in pieces:
                    texts.append(piece.text)
                await reply.json(
                    dialect.whole(call, piece, text="".join(texts), response_id=response_id, created=created)
                )


async def _unless_hung_up(answer: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Carry an answer to its end, or abandon it once the client has gone."""
    work = asyncio.create_task(answer)
    gone = asyncio.create_task(until_hang_up(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise HungUp
        work.result()
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.wait({work, gone})


def _response_id(call: Call) -> str:
    """An id that depends on the call alone, so that the same script gives the same results."""
    digest = zlib.crc32(call.prompt.encode("utf-8", "replace"), zlib.crc32(call.endpoint.encode()))
    return f"as-{digest:08x}"


__all__ = ["CompletionsRoute", "Misbehaviour"]
