"""What judges a run's answers: a job's scorers, made ready before any row is read.

Own scorers are code. They run only for a job file that the user names; a run directory is data, and may come
from anybody, so what its manifest says of own scorers is told and not run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from qfbatch.errors import StorageError
from qfbatch.job.settings import BUILT_IN_SCORERS, Job, ScorerSettings
from qfbatch.scoring.own_scorers import load_function
from qfbatch.scoring.scorers import Scorer, built_in, own


class Evaluation(Struct, frozen=True):
    """What judges the answers.

    Attributes:
        scorers: in the job's order.
        not_run: own scorers that a run directory alone does not run.
    """

    scorers: tuple[Scorer, ...] = ()
    not_run: tuple[str, ...] = ()


UNSCORED = Evaluation()


def evaluation_of(job: Job) -> Evaluation:
    """What a job file asks for; own scorers are looked for in its folder and the working directory.

    Raises:
        UsageError: a scorer cannot be used: a package or a module is missing, or importing it failed.
    """
    folders = (job.source.parent, Path.cwd())
    return Evaluation(tuple(_ready(settings, folders) for settings in job.evaluation))


def evaluation_in(manifest_job: Mapping[str, Any]) -> Evaluation:
    """What the job in a run's manifest asks for, built-in scorers alone.

    Raises:
        UsageError: a package that a scorer needs is missing.
        StorageError: the manifest's scorers cannot be read.
    """
    try:
        wanted = msgspec.convert(manifest_job.get("evaluation", ()), tuple[ScorerSettings, ...])
    except msgspec.ValidationError as error:
        raise StorageError(f"manifest.json: its evaluation is damaged: {error}") from error
    try:
        ready = tuple(built_in(settings) for settings in wanted if settings.scorer in BUILT_IN_SCORERS)
    except re.error as error:
        raise StorageError(f"manifest.json: its evaluation is damaged: {error}") from error
    others = tuple(settings.name for settings in wanted if settings.scorer not in BUILT_IN_SCORERS)
    return Evaluation(ready, others)


def _ready(settings: ScorerSettings, folders: Sequence[Path]) -> Scorer:
    if settings.scorer in BUILT_IN_SCORERS:
        return built_in(settings)
    return own(settings, load_function(settings.scorer, folders))


__all__ = ["UNSCORED", "Evaluation", "evaluation_in", "evaluation_of"]
