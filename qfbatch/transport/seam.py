"""The seam between a row's way and the network: a call out, a response back.

Whatever carries calls implements `Transport`, one method; `tests/test_transport.py` holds every
implementation to the same contract.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct

from qfbatch.records import Action, ErrorKind, Failure

MAX_BODY_BYTES = 64 * 1024 * 1024
DRAIN_S = 0.1  # how long a stream that is left may take to end by itself, so that its connection can be kept
DRAIN_BYTES = 64 * 1024


class HttpCall(Struct, frozen=True, gc=False):
    """One call, complete with credentials.

    Attributes:
        url: whole, perhaps with a token in its query: never shown.
        headers: all of them, perhaps with a signature: never shown.
        body: bytes to send.
        timeout_s: for the whole exchange, body included.
        stream: whether the body is to be had piece by piece, as it arrives.
    """

    url: str
    headers: dict[str, str]
    body: bytes
    timeout_s: float
    stream: bool = False

    def __repr__(self) -> str:
        return f"HttpCall({len(self.body)} bytes, timeout_s={self.timeout_s})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What rich shows, in its tracebacks too: no more than `repr`."""
        return [("bytes", len(self.body)), ("timeout_s", self.timeout_s)]


class TransportError(Exception):
    """The exchange failed below HTTP's own statuses; carries the row-level `Failure` it amounts to."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Response(Protocol):
    """A response whose body is still to be read."""

    @property
    def status(self) -> int:
        """HTTP status."""

    def header(self, name: str) -> str | None:
        """A header by its lower-case name; None where absent."""

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            TransportError: if it breaks off, times out or exceeds `MAX_BODY_BYTES`.
        """

    def chunks(self, *, gap_s: float) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Args:
            gap_s: longest silence between two chunks, seconds.

        Raises:
            TransportError: as for `read`, and after too long a silence.
        """


class Transport(Protocol):
    """Carries calls to the service. Connections are kept and reused."""

    def exchange(self, call: HttpCall) -> AbstractAsyncContextManager[Response]:
        """Send the call; the response's head is there on entry, everything is released on exit.

        Raises:
            TransportError: on entry, if there is no response.
        """

    async def close(self) -> None:
        """Release all connections."""


# The same for every row: an address or header that no HTTP call can carry.
CANNOT_BE_BUILT = Failure(
    ErrorKind.INVALID_REQUEST,
    Action.JOB,
    "the call cannot be built: check service.base_url and the credentials for stray characters",
)


def silent_stream(gap_s: float) -> Failure:
    """The failure of a stream that stopped in the middle without breaking."""
    message = f"nothing arrived for {gap_s:g} s in the middle of a stream"
    return Failure(ErrorKind.TIMEOUT, Action.RETRY, message)
