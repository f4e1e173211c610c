"""Engine, gate and routes put together: what `qfbatch serve` runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from qfbatch.server.app import build_app
from qfbatch.server.auth import Gate, keys_from
from qfbatch.server.engine import Engine
from qfbatch.server.exchange import Misbehaviour


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is ready to be run.

    Attributes:
        app: the ASGI application.
        endpoints: names to announce.
        close: frees the engine; blocks until that is done.
    """

    app: ASGIApp
    endpoints: tuple[str, ...]
    close: Callable[[], None]


def open_service(
    make_engine: Callable[[], Engine], *, token_seconds: float, environment: Mapping[str, str]
) -> Served:
    """An honest server over one engine.

    Args:
        make_engine: called after the environment was found in order, as it may take its time.
        token_seconds: how long access tokens are good.
        environment: where the keys to demand are named, if any.

    Raises:
        UsageError: the environment or the engine's settings are wrong.
    """
    gate = Gate(keys_from(environment), clock=time.time, token_seconds=token_seconds)
    return assemble(make_engine(), gate)


def assemble(
    engine: Engine, gate: Gate, *, misbehaviour: Misbehaviour | None = None, extra: Sequence[BaseRoute] = ()
) -> Served:
    """Put engine, gate and routes together.

    Args:
        engine: what answers.
        gate: who may call.
        misbehaviour: faults on request.
        extra: routes beside the service's own.
    """
    app = build_app(engine, gate, misbehaviour=misbehaviour, extra=extra, clock=time.time)
    return Served(app, engine.endpoints, engine.close)


__all__ = ["Served", "assemble", "open_service"]
