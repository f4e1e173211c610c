"""What a protocol module asks of an engine, and what it gets back. No HTTP, no dialect."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from msgspec import Struct


class Sampling(Struct, frozen=True, gc=False):
    """How text is to be generated. None leaves the choice to the engine; ranges are validated before.

    Attributes:
        temperature: (0, 1].
        top_p: [0, 1].
        top_k: from 1.
        penalty_score: [1, 2]; 1 does not penalise repetition.
        stop: texts that end the generation once the answer ends with one of them.
        seed: the same seed, prompt and sampling give the same text.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    penalty_score: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Call(Struct, frozen=True, gc=False):
    """One validated request.

    Attributes:
        endpoint: the name it was sent to; one that the engine knows.
        prompt: not empty.
        sampling: how to generate.
        stream: the client asked for a stream.
        token: the access token it came with; empty where there was none.
    """

    endpoint: str
    prompt: str
    sampling: Sampling
    stream: bool
    token: str = ""


class Finish(Struct, frozen=True, gc=False):
    """How an answer ended.

    Attributes:
        reason: `normal`, or `length` where the cap on tokens cut it.
        unsafe: the input was judged unsafe; None where the engine does not judge.
        with_usage: False leaves token counts out of the answer (a scripted oddity).
        kind: the answer's `object`.
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


class EngineRefusal(Exception):  # noqa: N818 - reads as the event it reports
    """The engine answers with an error of the service instead of text.

    Args:
        code: the service's error code.
        message: its text; empty takes the service's own.
    """

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


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
            EngineRefusal: before the first piece or, rarely, between pieces.
        """

    def close(self) -> None:
        """Abandon what is in flight and free everything; blocks until that is done."""


__all__ = ["Call", "Engine", "EngineRefusal", "Finish", "Piece", "Sampling"]
