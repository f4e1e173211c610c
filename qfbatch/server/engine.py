"""What a protocol asks of an engine, and what it gets back. No HTTP, no dialect."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from msgspec import Struct


class Sampling(Struct, frozen=True, gc=False, omit_defaults=True):
    """How text is to be generated. None leaves the choice to the engine; ranges are validated before.

    Attributes:
        temperature: [0, 2]; 0 takes the likeliest token each time.
        top_p: [0, 1].
        top_k: from 1; 0 considers all tokens.
        penalty_score: (0, 2]; 1 does not penalise repetition.
        presence_penalty: [-2, 2]; taken from the scores of tokens that have occurred.
        frequency_penalty: [-2, 2]; the same, for each time they have.
        stop: texts that end the generation once the answer ends with one of them.
        seed: the same seed, prompt and sampling give the same text.
        max_tokens: of the answer, from 1.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    penalty_score: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    max_tokens: int | None = None


class Message(Struct, frozen=True, gc=False):
    """One message of a conversation.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: its text.
    """

    role: str
    content: str


class Call(Struct, frozen=True, gc=False):
    """One validated request.

    Attributes:
        endpoint: the name it was sent to; one that the engine knows.
        prompt: not empty; of a conversation, its last message, which is the user's.
        sampling: how to generate.
        stream: the client asked for a stream.
        token: the access token or key it came with; empty where there was none.
        chat: whether it is a conversation, by its protocol.
        earlier: a conversation's messages before the last one.
        suffix: text that the answer is to lead to; empty for none.
        count_at_end: the client asked for token counts at the end of its stream; V1 always sends them.
    """

    endpoint: str
    prompt: str
    sampling: Sampling
    stream: bool
    token: str = ""
    chat: bool = False
    earlier: tuple[Message, ...] = ()
    suffix: str = ""
    count_at_end: bool = False


class Finish(Struct, frozen=True, gc=False):
    """How an answer ended.

    Attributes:
        reason: `normal`, or `length` where the cap on tokens cut it.
        unsafe: the input was judged unsafe; None where the engine does not judge.
        with_usage: False leaves token counts out of the answer (a scripted oddity).
        kind: the answer's `object` where the protocol leaves it open (V1).
    """

    reason: str = "normal"
    unsafe: bool | None = None
    with_usage: bool = True
    kind: str = "completion"


class Piece(Struct, frozen=True, gc=False):
    """The next part of an answer.

    Attributes:
        text: may be empty, in the last piece above all.
        prompt_tokens: of the whole prompt.
        completion_tokens: of all pieces so far.
        finish: set in the last piece, and only there.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: Finish | None = None


class Refusal(Exception):  # noqa: N818 - reads as the event it reports
    """A call is answered with an error instead of text.

    Within the server errors go by V1's numbers; each protocol says them in its own words.

    Args:
        code: V1's error code.
        message: its text; empty takes the protocol's own.
        name: V2's error code, where V1's number does not tell it.
        status: HTTP status, where V2 has several for the error; 0 takes the usual one.
        gateway: HTTP status and body of a gateway before the service, which answers whatever the protocol.
    """

    def __init__(
        self,
        code: int,
        message: str = "",
        *,
        name: str = "",
        status: int = 0,
        gateway: tuple[int, dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.name = name
        self.status = status
        self.gateway = gateway


class Engine(Protocol):
    """Turns prompts into text."""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Names it is served under, for listings."""

    @property
    def stops_on_hang_up(self) -> bool:
        """Whether the answer of a client that hung up is abandoned; it is billed to the end otherwise."""

    def knows(self, endpoint: str) -> bool:
        """Whether it answers under this name."""

    def generate(self, call: Call) -> AsyncGenerator[Piece, None]:
        """The answer, piece by piece.

        Raises:
            Refusal: before the first piece or, rarely, between pieces.
        """

    def close(self) -> None:
        """Abandon what is in flight and free everything; blocks until that is done."""


__all__ = ["Call", "Engine", "Finish", "Message", "Piece", "Refusal", "Sampling"]
