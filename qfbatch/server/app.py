"""The routes: every protocol over one engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from qfbatch.server import openai, qianfan
from qfbatch.server.auth import Gate
from qfbatch.server.dialect import Dialect
from qfbatch.server.engine import Engine, Refusal
from qfbatch.server.exchange import CompletionsRoute, Misbehaviour
from qfbatch.server.reply import Reply

VERSIONS = ("/v1", "/v2")  # compatible servers say v1, the service's current generation v2


def build_app(
    engine: Engine,
    gate: Gate,
    *,
    misbehaviour: Misbehaviour | None = None,
    extra: Sequence[BaseRoute] = (),
    clock: Callable[[], float],
) -> Starlette:
    """The ASGI application.

    Args:
        engine: what answers.
        gate: who may call.
        misbehaviour: faults on request; None answers honestly.
        extra: routes beside the service's own (the scripted engine's controls).
        clock: unix seconds.
    """

    def completions(dialect: Dialect) -> CompletionsRoute:
        """The route of one dialect, over the engine and the gate that all routes share."""
        return CompletionsRoute(dialect, engine, gate, misbehaviour=misbehaviour, clock=clock)

    first, text, chat = qianfan.QianfanV1(), openai.OpenAI(chat=False), openai.OpenAI(chat=True)
    text_route, chat_route = completions(text), completions(chat)
    models = _Models(engine, gate, text, created=int(clock()))

    async def service_list(request: Request) -> Response:
        """`POST /wenxinworkshop/service/list`: the official client asks it for model names."""
        try:
            first.admit(request.scope, gate)
        except Refusal as refusal:
            status, payload = first.failure(refusal, "")
            return JSONResponse(payload, status)
        prefix = str(request.base_url).rstrip("/") + qianfan.COMPLETIONS.partition("{")[0]
        common = [
            {"name": name, "url": prefix + name, "apiType": "completions", "chargeStatus": "OPENED"}
            for name in engine.endpoints
        ]
        return JSONResponse({"log_id": "1", "result": {"common": common, "custom": []}})

    async def health(request: Request) -> Response:
        """`GET /`: what is served here."""
        del request
        return JSONResponse({"name": "qfbatch", "endpoints": list(engine.endpoints)})

    routes: list[BaseRoute] = [Route(qianfan.COMPLETIONS, completions(first), methods=None)]
    for version in VERSIONS:
        routes += [
            Route(f"{version}/completions", text_route, methods=None),
            Route(f"{version}/chat/completions", chat_route, methods=None),
            Route(f"{version}/models", models.list_route, methods=["GET"]),
            Route(f"{version}/models/{{name:path}}", models.one_route, methods=["GET"]),
            Route(f"{version}/{{path:path}}", _Unknown(text), methods=None),
        ]
    return Starlette(
        routes=[
            *routes,
            Route("/oauth/2.0/token", gate.token_route, methods=["GET", "POST"]),
            Route("/wenxinworkshop/service/list", service_list, methods=["POST"]),
            Route("/", health, methods=["GET"]),
            *extra,
            Route("/{path:path}", _Unknown(first), methods=None),
        ]
    )


class _Models:
    """`GET …/models` and `GET …/models/NAME`: what is served, in V2's words.

    Args:
        engine: whose endpoints are listed.
        gate: who may ask.
        dialect: says errors.
        created: unix seconds, given as the models' age.
    """

    def __init__(self, engine: Engine, gate: Gate, dialect: Dialect, *, created: int) -> None:
        self._engine = engine
        self._gate = gate
        self._dialect = dialect
        self._created = created

    async def list_route(self, request: Request) -> Response:
        """All of them."""
        try:
            self._dialect.admit(request.scope, self._gate)
        except Refusal as refusal:
            return self._refused(refusal)
        return JSONResponse(openai.models_payload(self._engine.endpoints, self._created))

    async def one_route(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["name"]
        try:
            self._dialect.admit(request.scope, self._gate)
        except Refusal as refusal:
            return self._refused(refusal)
        if not self._engine.knows(name):
            return self._refused(Refusal(336005, status=404))
        return JSONResponse(openai.model_payload(name, self._created))

    def _refused(self, refusal: Refusal) -> Response:
        status, payload = self._dialect.failure(refusal, "")
        return JSONResponse(payload, status)


class _Unknown:
    """Every other path: "API does not exist", in the words of a protocol."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        await Reply(scope, send, self._dialect).refuse(Refusal(3))


__all__ = ["VERSIONS", "build_app"]
