"""The scripted server: admission by quota and script, the ledger, and its control routes."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive

from qfbatch.errors import UsageError
from qfbatch.server.auth import Gate, keys_from
from qfbatch.server.engine import Call, Refusal
from qfbatch.server.reply import Reply
from qfbatch.server.scripted.answers import ScriptedEngine, answer_text, count_tokens, prompt_tokens
from qfbatch.server.scripted.faults import misbehave
from qfbatch.server.scripted.grammar import EndpointScript, ScriptError, fault_of, read_endpoint, read_prompt
from qfbatch.server.scripted.ledger import Ledger
from qfbatch.server.scripted.quota import Quotas
from qfbatch.server.service import Served, assemble


class Script:
    """Decides each call's fate: refused by a rule, spoilt by a fault, or answered.

    Args:
        ledger: what is remembered.
        gate: whose tokens run out.
    """

    def __init__(self, ledger: Ledger, gate: Gate) -> None:
        self._ledger = ledger
        self._gate = gate
        self._quotas: dict[str, Quotas] = {}
        self._token_calls: defaultdict[tuple[str, str], int] = defaultdict(int)

    async def admit(self, call: Call, reply: Reply, receive: Receive) -> Reply | None:
        """See `exchange.Misbehaviour`."""
        endpoint = read_endpoint(call.endpoint)
        tally = self._ledger.called(call.endpoint, call.prompt)
        traffic = self._ledger.traffic[call.endpoint]
        traffic.in_flight += 1
        traffic.in_flight_max = max(traffic.in_flight_max, traffic.in_flight)
        try:
            script = read_prompt(call.prompt, endpoint)
        except ScriptError as error:
            raise Refusal(336003, str(error)) from None
        code, wait_s = self._refusal(call, endpoint)
        if code:
            traffic.refused += 1
            if reply.dialect.tells_resets:
                self._tell_rates(call, reply, endpoint)
            await _refuse(reply, code, wait_s, endpoint)
            return None
        self._tell_rates(call, reply, endpoint)
        traffic.admitted += 1
        tally.admitted += 1
        fault = fault_of(script.faults, call.prompt, tally.admitted)
        if fault is None:
            return reply
        return await misbehave(fault, reply, receive, now=time.time())

    def finished(self, call: Call, *, answered: bool) -> None:
        """See `exchange.Misbehaviour`."""
        self._ledger.forget(call.endpoint)
        if answered:
            self._ledger.answered(call.endpoint, call.prompt)

    def _refusal(self, call: Call, endpoint: EndpointScript) -> tuple[int, float]:
        """The code a rule refuses the call with, and seconds to wait; zeros where it is let in."""
        rules = endpoint.rules
        traffic = self._ledger.traffic[call.endpoint]
        if rules.max_chars is not None and len(call.prompt) > rules.max_chars:
            return 336007, 0.0
        if rules.token_calls is not None and call.token:
            used = self._token_calls[call.endpoint, call.token] = (
                self._token_calls[call.endpoint, call.token] + 1
            )
            if used > rules.token_calls:
                return rules.token_code, 0.0
        if rules.calls is not None and traffic.admitted >= rules.calls:
            return rules.calls_code, 0.0
        if rules.concurrency is not None and traffic.in_flight > rules.concurrency:
            return 336100, 0.0
        if rules.qps is None and rules.rpm is None and rules.tpm is None:
            return 0, 0.0
        script = read_prompt(call.prompt, endpoint)
        tokens = 0
        if rules.tpm is not None:
            tokens = prompt_tokens(call) + count_tokens(answer_text(call, endpoint, script)[0])
        return self.quotas(call.endpoint).ask(tokens, time.monotonic())

    def _tell_rates(self, call: Call, reply: Reply, endpoint: EndpointScript) -> None:
        """Add the rate headers, where the endpoint sends them."""
        if endpoint.rules.headers:
            quotas = self.quotas(call.endpoint)
            reply.headers += quotas.headers(time.monotonic(), resets=reply.dialect.tells_resets)

    def quotas(self, endpoint: str) -> Quotas:
        """The endpoint's quotas, made when first needed."""
        quotas = self._quotas.get(endpoint)
        if quotas is None:
            quotas = self._quotas[endpoint] = Quotas(read_endpoint(endpoint).rules)
        return quotas

    async def calls_route(self, request: Request) -> Response:
        """`GET /_scripted/calls[?endpoint=NAME]`: what was called and answered."""
        return JSONResponse(self._ledger.report(request.query_params.get("endpoint")))

    async def reset_route(self, request: Request) -> Response:
        """`POST /_scripted/reset`: forget all counts and quotas; tokens stay good."""
        del request
        self._ledger.reset()
        self._quotas.clear()
        self._token_calls.clear()
        return JSONResponse({})

    async def revoke_route(self, request: Request) -> Response:
        """`POST /_scripted/revoke-tokens`: every token issued so far gets 110 from now on."""
        del request
        return JSONResponse({"revoked": self._gate.revoke_all()})


async def _refuse(reply: Reply, code: int, wait_s: float, endpoint: EndpointScript) -> None:
    """Answer a refused call as the endpoint is told to."""
    if wait_s and endpoint.rules.refuse == "http":
        reply.headers.append((b"retry-after", b"%d" % math.ceil(wait_s)))
        await reply.refuse(Refusal(code), status=429)
    else:
        await reply.refuse(Refusal(code))


def open_service(*, ledger: Path | None, token_seconds: float, environment: Mapping[str, str]) -> Served:
    """A scripted server.

    Args:
        ledger: file to append completed answers to, or None.
        token_seconds: how long access tokens are good.
        environment: where the keys to demand are named, if any.

    Raises:
        UsageError: the environment is wrong, or the ledger cannot be written.
    """
    gate = Gate(keys_from(environment), clock=time.time, token_seconds=token_seconds)
    try:
        kept = Ledger(ledger)
    except OSError as error:
        raise UsageError(
            f"cannot write the ledger {ledger}: {error.strerror}", hint="Give --ledger another file."
        ) from None
    script = Script(kept, gate)
    routes = [
        Route("/_scripted/calls", script.calls_route, methods=["GET"]),
        Route("/_scripted/reset", script.reset_route, methods=["POST"]),
        Route("/_scripted/revoke-tokens", script.revoke_route, methods=["POST"]),
    ]
    return assemble(ScriptedEngine(kept.close), gate, misbehaviour=script, extra=routes)


__all__ = ["Script", "open_service"]
