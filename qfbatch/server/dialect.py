"""What the route asks of a protocol: reading requests, shaping answers, saying errors. No I/O."""

from __future__ import annotations

from typing import Any, Protocol

from starlette.types import Scope

from qfbatch.server.auth import Gate
from qfbatch.server.engine import Call, Engine, Piece, Refusal


class Dialect(Protocol):
    """A protocol, the server's side.

    Attributes:
        tells_resets: whether rate headers say when a quota is whole again, and come with refusals too.
    """

    tells_resets: bool

    def admit(self, scope: Scope, gate: Gate) -> str:
        """The access token or key of a request that is let in; empty where it has none.

        Raises:
            Refusal: it is not let in.
        """

    def read(self, scope: Scope, body: bytes, token: str, engine: Engine) -> Call:
        """The call that a request asks for.

        Args:
            scope: the ASGI request.
            body: as received.
            token: what `admit` gave.
            engine: knows the endpoints.

        Raises:
            Refusal: it breaks a documented rule, or nobody answers under the name it asks for.
        """

    def whole(self, call: Call, piece: Piece, *, text: str, response_id: str, created: int) -> dict[str, Any]:
        """The body of a whole answer.

        Args:
            call: what was asked.
            piece: the last one.
            text: of all pieces.
            response_id: the answer's id.
            created: unix seconds.
        """

    def events(self, call: Call, piece: Piece, *, number: int, response_id: str, created: int) -> bytes:
        """What a stream carries for one piece: one event, or, for the last piece, all that ends the stream.

        Args:
            call: what was asked.
            piece: the one to send.
            number: of the piece, from 0.
            response_id: the same for all pieces.
            created: unix seconds.
        """

    def failure(self, refusal: Refusal, response_id: str) -> tuple[int, dict[str, Any]]:
        """HTTP status and body of an error.

        Args:
            refusal: what went wrong.
            response_id: of the answer that there is none of; empty where no call was read.
        """

    def http_failure(self, status: int) -> dict[str, Any]:
        """The body that comes with a bare HTTP status (400 to 599), as a gateway would send it."""


__all__ = ["Dialect"]
