"""The seam between a row's way and the network: a call out, an answer back, whole or piece by piece.

Whatever carries calls implements `Transport`; `tests/test_transport.py` holds every implementation to the
same contract.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct

from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.service.dialect import Header

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
    """

    url: str
    headers: dict[str, str]
    body: bytes
    timeout_s: float

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


class Answer(Struct, frozen=True, gc=False):
    """A whole answer.

    Attributes:
        status: HTTP status.
        header: looks a header up by its lower-case name; None where absent, or where it is not ASCII text.
        body: all of it, unpacked.
    """

    status: int
    header: Header
    body: bytes


class Response(Protocol):
    """An answer whose body is still to come."""

    @property
    def status(self) -> int:
        """HTTP status."""

    def header(self, name: str) -> str | None:
        """A header by its lower-case name; None where absent, or where it is not ASCII text."""

    def chunks(self, *, gap_s: float) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Args:
            gap_s: longest silence between two chunks, seconds.

        Raises:
            TransportError: if it breaks off, times out, stays silent for too long or exceeds
                `MAX_BODY_BYTES`.
        """


class Transport(Protocol):
    """Carries calls to the service. Connections are kept and reused."""

    async def ask(self, call: HttpCall) -> Answer:
        """Send the call, and take its answer as a whole.

        Raises:
            TransportError: if there is none, or if it breaks off, times out or exceeds `MAX_BODY_BYTES`.
        """

    def stream(self, call: HttpCall) -> AbstractAsyncContextManager[Response]:
        """Send the call, whose answer is taken piece by piece as it arrives.

        The answer's head is there on entry, everything is released on exit.

        Raises:
            TransportError: on entry, if there is no answer.
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
