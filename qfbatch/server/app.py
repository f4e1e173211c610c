"""The routes: protocol modules side by side over one engine."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from qfbatch.server.auth import Gate
from qfbatch.server.completions import CompletionsRoute
from qfbatch.server.engine import Engine
from qfbatch.server.protocol import error_payload
from qfbatch.server.reply import Reply

COMPLETIONS = "/rpc/2.0/ai_custom/v1/wenxinworkshop/completions/{endpoint:path}"


def build_app(
    engine: Engine, gate: Gate, completions: CompletionsRoute, *, extra: Sequence[BaseRoute] = ()
) -> Starlette:
    """The ASGI application.

    Args:
        engine: whose endpoints are listed.
        gate: issues tokens, checks the list's signature.
        completions: the V1 completions route.
        extra: routes beside the service's own (the scripted engine's controls).
    """

    async def service_list(request: Request) -> Response:
        """`POST /wenxinworkshop/service/list`: the official client asks it for model names."""
        refused = gate.check(request.scope, request.query_params.get("access_token", ""))
        if refused is not None:
            return JSONResponse(refused.payload, refused.status)
        prefix = str(request.base_url).rstrip("/") + COMPLETIONS.partition("{")[0]
        common = [
            {"name": name, "url": prefix + name, "apiType": "completions", "chargeStatus": "OPENED"}
            for name in engine.endpoints
        ]
        return JSONResponse({"log_id": "1", "result": {"common": common, "custom": []}})

    async def health(request: Request) -> Response:
        """`GET /`: what is served here."""
        del request
        return JSONResponse({"name": "qfbatch", "endpoints": list(engine.endpoints)})

    return Starlette(
        routes=[
            Route(COMPLETIONS, completions, methods=None),
            Route("/oauth/2.0/token", gate.token_route, methods=["GET", "POST"]),
            Route("/wenxinworkshop/service/list", service_list, methods=["POST"]),
            Route("/", health, methods=["GET"]),
            *extra,
            Route("/{path:path}", unknown, methods=None),
        ]
    )


class _Unknown:
    """Every other path: the service's "API does not exist"."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        await Reply(scope, send).json(error_payload(3))


unknown = _Unknown()

__all__ = ["COMPLETIONS", "build_app"]
