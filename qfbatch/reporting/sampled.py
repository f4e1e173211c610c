"""Answers chosen to be read by people, as frozen values: each prompt with what every model made of it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Mark(StrEnum):
    """Why a prompt may be worth looking at. It holds for a prompt if it holds for one of its replies.

    `DIFFERS` alone is about several replies: the models that answered did not all say the same.
    """

    FAILED = "failed"
    UNSAFE = "unsafe"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    DIFFERS = "differs"


class Excerpt(Struct, frozen=True):
    """A text, or its beginning.

    Attributes:
        text: as it was sent or received, cut after so many characters.
        characters: of the whole text.
    """

    text: str
    characters: int


class Reply(Struct, frozen=True):
    """One model's row for a prompt.

    Attributes:
        model: its name in the job.
        status: as in the results.
        answer: None unless succeeded.
        error: kind, code and message of a failed row; empty otherwise.
        marks: those that hold for this row; never `DIFFERS`.
        total_tokens, latency_s, cost, currency, finish_reason: as in the results.
    """

    model: str
    status: str
    answer: Excerpt | None
    error: str
    marks: tuple[Mark, ...]
    total_tokens: int | None
    latency_s: float | None
    cost: float | None
    currency: str | None
    finish_reason: str | None


class Prompt(Struct, frozen=True):
    """One input row.

    Attributes:
        row_id: its identity in the results.
        source: `file:row` it came from.
        prompt: as sent.
        columns: the carried columns by their input names, as short texts; nulls are left out.
        replies: in the order of the models; None where a model has no row for it yet.
        marks: those that hold for any reply, and `DIFFERS`.
    """

    row_id: str
    source: str
    prompt: Excerpt
    columns: dict[str, str]
    replies: tuple[Reply | None, ...]
    marks: tuple[Mark, ...]


class Sample(Struct, frozen=True):
    """Prompts of one run, in the order of its input.

    Attributes:
        models: the columns of `Prompt.replies`.
        prompts: the chosen ones.
        of_prompts, of_rows: how many the run has.
        marked: how many prompts of the run have each mark.
    """

    models: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    of_prompts: int
    of_rows: int
    marked: dict[Mark, int]

    @property
    def rows(self) -> int:
        """Replies that are in the sample."""
        return sum(reply is not None for prompt in self.prompts for reply in prompt.replies)
