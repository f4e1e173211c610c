"""How a run follows an input that has changed: surveyed anew, told, and the answers brought to their rows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pyarrow as pa

from qfbatch.checkpoint.answers import answers_of
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.manifest import Manifest, write_manifest
from qfbatch.checkpoint.parts import write_part
from qfbatch.checkpoint.place import SUPERSEDED, RunPlace, StoredRun, read_content
from qfbatch.checkpoint.store import Checkpoint
from qfbatch.checkpoint.stored_tenure import KEYS, copy_aside
from qfbatch.checkpoint.succession import Succession
from qfbatch.errors import InputError, RunMismatch, StorageError
from qfbatch.flow.rehoming import count_differences, rehome
from qfbatch.flow.surveying import OnSurvey, survey_with_keys
from qfbatch.job.settings import Job, ModelSettings
from qfbatch.reader.changes import InputChange
from qfbatch.records import Survey
from qfbatch.wording import count, things


def follow(
    job: Job,
    place: RunPlace,
    manifest: Manifest,
    change: InputChange,
    *,
    accept: bool,
    on_survey: OnSurvey | None,
) -> tuple[Manifest, list[str]]:
    """The run on the input as it is now, which has changed; see `resuming.follow_input`.

    Args:
        job: as there.
        place: as there.
        manifest: as there.
        change: how the job's files differ from those of the manifest.
        accept: as there.
        on_survey: as there.
    """
    way = _follow_in_log if isinstance(place, StoredRun) else _follow_on_disk
    return way(_Following(job, place, manifest, change, accept, on_survey))


@dataclass(frozen=True, slots=True)
class _Following:
    """What following a changed input is about."""

    job: Job
    place: RunPlace
    manifest: Manifest
    change: InputChange
    accept: bool
    on_survey: OnSurvey | None

    def survey(self, keys: Path) -> tuple[Survey, str]:
        """The input as it is now, its rows' keys kept in a file, and how it differs; refuses the change."""
        try:
            found = survey_with_keys(self.job, keys, self.on_survey)
        except InputError as error:
            since = "\n".join(_sizes(self.manifest.survey, self.change))
            raise InputError(
                f"{error.message}\nSince the run was started:\n{since}", hint=error.hint
            ) from error
        difference = input_difference(self.place, keys.read_bytes())
        if not self.accept:
            raise RunMismatch(
                f"{self.job.output_path} was started on other input: {difference}:\n"
                + "\n".join(_changes(self.change)),
                hint="Restore the input to resume; or go on with --accept-input-change, which keeps the "
                "answers of unchanged rows; or start again with --fresh. Nothing is deleted in any case.",
            )
        return found, difference


def _follow_on_disk(following: _Following) -> tuple[Manifest, list[str]]:
    job, layout, manifest = following.job, following.place, following.manifest
    assert isinstance(layout, RunLayout)  # noqa: S101 - chosen so by the caller
    succession = Succession(layout)
    succession.begin()
    try:
        found, difference = following.survey(succession.next.keys)
    except RunMismatch:
        succession.finish()  # nothing is ready: this clears what was begun
        raise
    models = _models_of(manifest, job)
    notes = _close_journals(models, layout, manifest)

    def write(model: str, shard: int, table: pa.Table) -> None:
        """Keep a shard's answers as a part of the results to come; those in force stay as they are."""
        write_part(
            succession.next.part(model, shard), table, run_id=manifest.run_id, model=model, shard=shard
        )

    kept = rehome(job.input, models, answers_of(layout, manifest), found, write)
    manifest = msgspec.structs.replace(manifest, survey=found)
    write_manifest(succession.next, manifest)
    succession.commit()
    return manifest, [*notes, _told(difference, kept)]


def _follow_in_log(following: _Following) -> tuple[Manifest, list[str]]:
    """As on a disk: entries of the new generation count when the manifest that names it is in force."""
    job, run, manifest = following.job, following.place, following.manifest
    assert isinstance(run, StoredRun)  # noqa: S101 - chosen so by the caller
    with TemporaryDirectory(prefix="qfbatch-keys-") as folder:
        keys = Path(folder) / KEYS
        found, difference = following.survey(keys)
        content = keys.read_bytes()
    copy_aside(run, manifest, SUPERSEDED)
    after = msgspec.structs.replace(manifest, survey=found, generation=uuid.uuid4().hex[:8])
    models = _models_of(manifest, job)
    names = [model.name for model in models]
    writer = f"rehoming-{uuid.uuid4().hex[:12]}"
    checkpoint = LogCheckpoint(run.store, names, found.shards, found.columns, after.log_id, writer=writer)
    checkpoint.recover()

    def write(model: str, shard: int, table: pa.Table) -> None:
        """Commit a shard's answers to the log of the new generation, under a claim of ours."""
        checkpoint.open_shard(model, shard)
        checkpoint.commit_table(model, shard, table)

    kept = rehome(job.input, models, answers_of(run, manifest), found, write)
    run.store.put(KEYS, content)
    return after, [_told(difference, kept)]


def _told(difference: str, kept: int) -> str:
    answers = things(kept, "answer")
    return f"the input changed: {difference}; {answers} kept, the results so far are in superseded/"


def _models_of(manifest: Manifest, job: Job) -> list[ModelSettings]:
    """The job's models, and those that answered before and are no longer in the job: they may come back."""
    models = {model.name: model for model in job.models}
    for field, parameters in manifest.fingerprint.items():
        name = field.removeprefix("models.").removesuffix(".parameters")
        if field == f"models.{name}.parameters" and name not in models:
            models[name] = ModelSettings(name=name, parameters=parameters)
    return list(models.values())


def _close_journals(models: Sequence[ModelSettings], layout: RunLayout, manifest: Manifest) -> list[str]:
    """All answers into parts, where `rehome` finds them; says what had to be repaired, one line each."""
    found = manifest.survey
    names = [model.name for model in models]
    checkpoint = Checkpoint.open(layout, names, found.shards, found.columns, manifest.run_id)
    recovery = checkpoint.recover()
    for model, shard in sorted(checkpoint.journalled):
        checkpoint.close_shard(model, shard)
    return list(recovery.notes)


def input_difference(before: RunPlace, now: bytes) -> str:
    """How the input differs from the run's, in rows.

    Args:
        before: the run directory.
        now: the keys of the present input's rows.
    """
    try:
        old = read_content(before, KEYS)
    except StorageError:
        old = None
    if old is None:
        return "its rows cannot be compared, for input.keys is missing"
    difference = count_differences(old, now)
    return (
        f"{things(difference.new, 'row')} new, {count(difference.gone)} gone, "
        f"{count(difference.changed)} changed, {count(difference.same)} the same"
    )


def _sizes(before: Survey, change: InputChange) -> list[str]:
    """`_changes`, with how the changed files grew or shrank: one that was cut off shows by that."""
    lines = _changes(change)
    for file in before.files:
        line = f"  {file.name}: changed"
        with suppress(OSError, ValueError):  # it is somewhere else now, or not among the changed ones
            place = lines.index(line)
            lines[place] = (
                f"{line}, from {count(file.size)} to {things(Path(file.path).stat().st_size, 'byte')}"
            )
    return lines


def _changes(change: InputChange) -> list[str]:
    lines = [f"  {name}: new" for name in change.added]
    lines += [f"  {name}: gone" for name in change.removed]
    lines += [f"  {name}: changed" for name in change.modified]
    return [*lines, "  the files stand in another order"] if change.moved else lines
