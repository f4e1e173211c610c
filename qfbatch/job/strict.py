"""What all sections of a job file have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictSection(BaseModel):
    """A mapping whose keys are all known and whose values are of the type asked for, never made so."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


__all__ = ["StrictSection"]
