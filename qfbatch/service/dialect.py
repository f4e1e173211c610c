"""What every dialect of the service provides: encode a call, decode an answer or a stream, read rate signals.

A dialect is pure: it sees bytes and headers, never a socket or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from qfbatch.records import Completion, Failure
from qfbatch.service.parameters import Rules

Header = Callable[[str], str | None]
"""Looks a response header up by its lower-case name; None where absent."""


class Call(Struct, frozen=True, gc=False):
    """One HTTP call, before credentials are added.

    Attributes:
        path: from the root of `base_url`, percent-encoded, with a leading slash.
        headers: beside those of the credentials.
        body: the JSON text.
        stream: whether the answer is asked for as an event stream.
    """

    path: str
    headers: dict[str, str]
    body: bytes
    stream: bool


class Access(Struct, frozen=True):
    """How a dialect's service is reached, and with which credentials.

    Attributes:
        base_url: the address where the job names none.
        variable: the environment variable that takes its place.
        local_path: what follows the embedded server's address in `base_url`; None where that server does not
            speak the dialect.
        auths: what `service.auth` may be; `auto` tries them in the order of the documentation.
        open_on_loopback: whether `auto` calls a server on this machine without credentials where none are
            set.
    """

    base_url: str
    variable: str
    local_path: str | None
    auths: tuple[str, ...]
    open_on_loopback: bool = False


class RateSignals(Struct, frozen=True, gc=False):
    """What one answer's headers say about limits; None where they do not.

    Attributes:
        limit_requests, limit_tokens: per minute.
        remaining_requests, remaining_tokens: left in the service's current window.
        reset_s: seconds until the limit is whole again: of which nothing is left, else the longest.
        refills: it comes back evenly until then, so that some of it is there before; where that is not known,
            nothing is until the window ends.
    """

    limit_requests: float | None = None
    limit_tokens: float | None = None
    remaining_requests: float | None = None
    remaining_tokens: float | None = None
    reset_s: float | None = None
    refills: bool = False


class StreamDecoder(Protocol):
    """Turns the bytes of one streamed answer into one `Completion` or `Failure`."""

    @property
    def started(self) -> bool:
        """Whether the first piece of the answer has arrived."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected: the end event or an error was seen."""

    def feed(self, chunk: bytes) -> None:
        """Take bytes as they arrive; boundaries may fall anywhere."""

    def finish(self, *, broken: Failure | None = None) -> Completion | Failure:
        """The outcome once the stream has closed.

        Args:
            broken: why the connection failed, if it did. An answer whose end event arrived stands all the
                same.
        """


class Dialect(Protocol):
    """One generation or flavour of the completions protocol.

    Attributes:
        name: as `service.api` has it.
        rules: the parameters it knows, with what each may hold.
        access: how its service is reached.
        takes_messages: whether a prompt may be a list of messages.
    """

    name: str
    rules: Rules
    access: Access
    takes_messages: bool

    def refuse_endpoint(self, endpoint: str) -> str | None:
        """Why no model can be called so, as an instruction; None where one can."""

    def key_variables(self, base_url: str) -> tuple[str, ...]:
        """The environment variables whose bearer key may be sent to `base_url`, the first one set counts."""

    def encode(
        self, endpoint: str, prompt: str, parameters: Mapping[str, Any], *, messages: bool = False
    ) -> Call:
        """The call that asks `endpoint` to complete `prompt`.

        Args:
            endpoint: the model, as the service calls it.
            prompt: a text.
            parameters: body fields beside it.
            messages: whether `prompt` is the JSON text of a list of messages; only where `takes_messages`.
        """

    def decode(self, status: int, header: Header, body: bytes, *, now: float) -> Completion | Failure:
        """The outcome of a call answered as a whole.

        Args:
            status: HTTP status.
            header: response headers.
            body: the whole body.
            now: seconds since the epoch, for a `Retry-After` that is a date.
        """

    def stream_decoder(self, status: int, header: Header, *, now: float) -> StreamDecoder:
        """A decoder for one streamed answer with this status and these headers."""

    def rate_signals(self, header: Header) -> RateSignals | None:
        """What the headers say about limits; None where they say nothing."""
