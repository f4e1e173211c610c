"""Paths that mean the same in processes with other working directories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from qfbatch.checkpoint.manifest import Manifest
from qfbatch.job.settings import Job
from qfbatch.storage.address import is_stored


def absolute_job(job: Job) -> Job:
    """The job with a run directory that every machine finds, if it is in a folder that all share."""
    if isinstance(job.output_path, Path):
        return replace(job, output_path=job.output_path.absolute())
    return job


def absolute_files(manifest: Manifest) -> Manifest:
    """The manifest with input files that every machine finds; addresses in object storage stay so."""
    files = tuple(
        file if is_stored(file.path) else msgspec.structs.replace(file, path=str(Path(file.path).absolute()))
        for file in manifest.survey.files
    )
    return msgspec.structs.replace(manifest, survey=msgspec.structs.replace(manifest.survey, files=files))


__all__ = ["absolute_files", "absolute_job"]
