"""The keys of a scorer in the job file's `evaluation`; `evaluation` checks what must hold between them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from qfbatch.job import values
from qfbatch.job.settings import BUILT_IN_SCORERS, DEFAULT_REFERENCE, NORMALISATIONS
from qfbatch.job.strict import StrictSection

Text = Annotated[str, Field(min_length=1), AfterValidator(values.printable)]
# Editors offer the built-in ones, and take any function.
ScorerName = Annotated[
    str,
    AfterValidator(values.scorer),
    WithJsonSchema(
        {"anyOf": [{"enum": list(BUILT_IN_SCORERS)}, {"type": "string", "pattern": "^[^:]+:[^:]+$"}]}
    ),
]
Normalisation = Annotated[
    str, AfterValidator(values.normalisation), Field(json_schema_extra={"enum": list(NORMALISATIONS)})
]
Pattern = Annotated[str, Field(min_length=1), AfterValidator(values.pattern)]


class ScorerSection(StrictSection):
    """One scorer that judges the answers in reports. It may be added when the run is complete."""

    scorer: ScorerName = Field(
        description="exact_match, contains, regex, edit_similarity, chrf, or a function as module:function"
    )
    name: Text | None = Field(
        default=None, description="how reports call it; by default the scorer's or the function's name"
    )
    reference: Text | None = Field(
        default=None,
        description=f"carried column with the right answer; {DEFAULT_REFERENCE} by default, none for regex "
        "and functions",
    )
    pattern: Pattern | None = Field(
        default=None, description="of regex: what an answer must hold, as Python's re has it"
    )
    normalise: list[Normalisation] | None = Field(
        default=None,
        description="what is evened out before texts are compared; whitespace by default, nothing for regex",
    )
    whole_words: bool = Field(
        default=False, description="of contains: count only where no word or number goes on at the ends"
    )


__all__ = ["ScorerSection"]
