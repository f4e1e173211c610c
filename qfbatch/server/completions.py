"""The V1 completions route: one request, from its bytes to the last byte of its answer."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, Protocol
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from qfbatch.server.auth import Gate
from qfbatch.server.engine import Call, Engine, EngineRefusal
from qfbatch.server.protocol import BadRequest, answer_payload, error_payload, read_call
from qfbatch.server.reply import CLOSE, BodyTooLarge, HungUp, Reply, read_body, until_hang_up

_log = logging.getLogger("qfbatch.serve")


class Misbehaviour(Protocol):
    """What stands between a valid call and its honest answer: nothing, or a script of faults."""

    async def admit(self, call: Call, reply: Reply, receive: Receive) -> Reply | None:
        """The reply to answer through, perhaps one that spoils the answer; None where all has been said."""

    def finished(self, call: Call, *, answered: bool) -> None:
        """The call that was passed to `admit` is over; `answered` where a whole good answer was sent."""


class CompletionsRoute:
    """`POST …/completions/{endpoint}` as an ASGI application.

    Args:
        engine: what answers.
        gate: who may call.
        misbehaviour: faults on request; None answers honestly.
        clock: unix seconds.
    """

    def __init__(
        self, engine: Engine, gate: Gate, *, misbehaviour: Misbehaviour | None, clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._misbehaviour = misbehaviour
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong here is the service's internal error."""
        reply = Reply(scope, send)
        try:
            await self._serve(scope, receive, reply)
        except HungUp:
            return
        except (BadRequest, EngineRefusal) as refusal:
            await _refuse(reply, error_payload(refusal.code, refusal.message))
        except Exception:  # noqa: BLE001 - a client is to hear of it in the service's words
            _log.exception("internal error")
            await _refuse(reply, error_payload(336000))

    async def _serve(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        if scope["method"] != "POST":
            raise BadRequest(336101, "")
        try:
            body = await read_body(receive)
        except BodyTooLarge:
            reply.headers.append(CLOSE)
            raise BadRequest(336007, "the request body is too large") from None
        query = scope["query_string"]
        token = parse_qs(query.decode("latin-1")).get("access_token", [""])[0] if query else ""
        refused = self._gate.check(scope, token)
        if refused is not None:
            await reply.json(refused.payload, status=refused.status)
            return
        endpoint = scope["path_params"]["endpoint"]
        if not self._engine.knows(endpoint):
            served = ", ".join(self._engine.endpoints)
            raise BadRequest(336005, f"API name not exist: {endpoint} (served here: {served})")
        call = read_call(body, endpoint, token)
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
        response_id = _response_id(call)
        created = int(self._clock())
        # A generator that is left early must free its slot now, not when it is collected.
        async with aclosing(self._engine.generate(call)) as pieces:
            if call.stream:
                number = 0
                async for piece in pieces:
                    payload = answer_payload(
                        piece, text=piece.text, response_id=response_id, created=created, sentence_id=number
                    )
                    await reply.event(payload, last=piece.finish is not None)
                    number += 1
            else:
                texts = []
                async for piece in pieces:
                    texts.append(piece.text)
                await reply.json(
                    answer_payload(piece, text="".join(texts), response_id=response_id, created=created)
                )


async def _refuse(reply: Reply, payload: dict[str, object]) -> None:
    """Answer with an error: plain JSON, or the last event of a stream that has begun."""
    if reply.started:
        await reply.event(payload, last=True)
    else:
        await reply.json(payload)


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
