"""The survey of a job's input, with its dialects' rules for the rows' own parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from qfbatch.checkpoint.files import replace_file
from qfbatch.job.settings import Job
from qfbatch.reader.survey import OnKeys, survey
from qfbatch.records import Survey
from qfbatch.service.dialects import dialect_named
from qfbatch.service.parameters import check_parameters

OnSurvey = Callable[[int, int], None]


def survey_input(
    job: Job, on_survey: OnSurvey | None = None, on_keys: OnKeys | None = None, *, limit: int | None = None
) -> Survey:
    """Read the whole input once, or its first rows alone; see `reader.survey.survey`.

    Raises:
        InputError: the input is wrong, or cannot be read.
    """
    # Every row goes through every model: what it says must hold in all of their dialects.
    all_rules = [dialect_named(api).rules for api in dict.fromkeys(map(job.api_of, job.models))]

    def problems(parameters: Mapping[str, Any]) -> Sequence[str]:
        """What is wrong with a row's own parameters in any of the dialects, each thing once."""
        found = (problem for rules in all_rules for problem in check_parameters(rules, parameters))
        return list(dict.fromkeys(f"{problem.field}: {problem.message}" for problem in found))

    return survey(job.input, check_parameters=problems, on_progress=on_survey, on_keys=on_keys, limit=limit)


def survey_with_keys(job: Job, path: Path, on_survey: OnSurvey | None = None) -> Survey:
    """Read the whole input once, and keep the keys of its rows in a file, whole or not at all.

    Raises:
        InputError: the input is wrong, or cannot be read.
        StorageError: the file could not be written.
    """
    found: list[Survey] = []

    def write(file: IO[bytes]) -> None:
        """Survey the input, its rows' keys going into the file as they are found."""
        found.append(survey_input(job, on_survey, file.write))

    replace_file(path, write)
    return found[0]
