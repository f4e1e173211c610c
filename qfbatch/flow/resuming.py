"""What a resume looks at before it goes on: is it the same question, the same service, the same input?"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from qfbatch.checkpoint.directory import begun_models
from qfbatch.checkpoint.layout import slug
from qfbatch.checkpoint.manifest import Manifest
from qfbatch.checkpoint.place import RunPlace
from qfbatch.errors import RunMismatch
from qfbatch.fingerprint import differences, fingerprint
from qfbatch.flow.surveying import OnSurvey
from qfbatch.job.settings import Job
from qfbatch.reader.changes import changed_files

_FOLLOWING = "qfbatch.flow.following"  # looks answers up with polars: much to load for what is rare


def is_replaceable(place: RunPlace, manifest: Manifest, job: Job) -> bool:
    """Whether the run there was begun by a job that differs, and holds no answer that could be mixed.

    A job corrected after a first try that came to nothing then simply runs.

    Raises:
        InputError: a path of the job finds nothing any more.
    """
    if begun_models(place, manifest.log_id):
        return False
    return bool(
        differences(manifest.fingerprint, fingerprint(job)) or changed_files(manifest.survey.files, job.input)
    )


def deciding_differences(place: RunPlace, manifest: Manifest, job: Job) -> list[str]:
    """The fields in which the job would mix answers, one line each.

    A model that has no answer yet has nothing to mix: its endpoint, mistyped at first, may be corrected.

    Raises:
        StorageError: the run directory can't be read.
    """
    begun = begun_models(place, manifest.log_id)
    idle = tuple(f"models.{model.name}." for model in job.models if slug(model.name) not in begun)
    before = {name: value for name, value in manifest.fingerprint.items() if not name.startswith(idle)}
    return differences(before, fingerprint(job))


def refuse_other_question(place: RunPlace, manifest: Manifest, job: Job) -> None:
    """Refuse a job whose answers would be mixed with those to another question.

    Raises:
        RunMismatch: naming the fields that differ.
        StorageError: the run directory can't be read.
    """
    differing = deciding_differences(place, manifest, job)
    if differing:
        raise RunMismatch(
            f"{job.output_path} holds answers to another question; "
            "the job file changed what decides them:\n" + "\n".join(f"  {line}" for line in differing),
            hint="Undo the change to resume, give the job another output.path, or start again with --fresh "
            "(nothing is deleted).",
        )


def address_notes(manifest: Manifest, job: Job) -> list[str]:
    """What to say where the answers so far came from another address."""
    before = _addresses(manifest.job)
    notes = []
    for model in job.models:
        now = {endpoint.service.base_url for endpoint in job.endpoints_of(model)}
        earlier = before.get(model.name, now)
        if earlier & now:
            continue
        was, present = ", ".join(sorted(earlier)), ", ".join(sorted(now))
        whose = "service.base_url" if now == {job.service.base_url} else f"{model.name}'s base_url"
        notes.append(f"{whose} was {was}, is {present}: earlier answers came from there")
    return list(dict.fromkeys(notes))


def _addresses(described: Mapping[str, Any]) -> dict[str, set[str]]:
    """Where each model was asked, by a manifest; those of earlier versions know the job's service only."""
    service = described.get("service", {})
    found = {}
    for model in described.get("models", ()):
        places = model.get("endpoints") or [model]
        services = [place.get("service") or model.get("service") or service for place in places]
        found[model["name"]] = {place.get("base_url", "") for place in services}
    return found


def follow_input(
    job: Job, place: RunPlace, manifest: Manifest, *, accept: bool, on_survey: OnSurvey | None
) -> tuple[Manifest, list[str]]:
    """The run on the input as it is now, which may have changed since the last start.

    Args:
        job: the job.
        place: the run directory; the caller holds it.
        manifest: as it was read.
        accept: whether a changed input is accepted.
        on_survey: told of the progress of a new survey, in bytes.

    Returns:
        The manifest in force, and what to tell of it.

    Raises:
        RunMismatch: the input changed and that was not accepted; the message counts the rows.
        InputError: the changed input is wrong.
        StorageError: the answers could not be brought to the new input; the run stands as it was.
    """
    change = changed_files(manifest.survey.files, job.input)
    if not change:
        return manifest, []
    following = importlib.import_module(_FOLLOWING)
    followed: tuple[Manifest, list[str]] = following.follow(
        job, place, manifest, change, accept=accept, on_survey=on_survey
    )
    return followed
