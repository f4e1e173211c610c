"""What each session of a run expected when it started: `plan.json`, for reports to compare with what came."""

from __future__ import annotations

import msgspec

from qfbatch.checkpoint.files import replace_file, storage_errors
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.errors import StorageError
from qfbatch.plans import Prediction

FORMAT_VERSION = 1


class _Document(msgspec.Struct, frozen=True):
    """The whole file."""

    run_id: str
    predictions: tuple[Prediction, ...] = ()
    format_version: int = FORMAT_VERSION


def read_predictions(layout: RunLayout, run_id: str) -> tuple[Prediction, ...]:
    """What the sessions of a run expected, oldest first.

    Sessions that found nothing left to do have none. A file that is missing, damaged, of another run or of a
    later format gives none either: a plan is good to know and nothing depends on it.

    Args:
        layout: the run directory.
        run_id: the manifest's.

    Raises:
        StorageError: the file is there and can't be read.
    """
    try:
        with storage_errors(layout.plan, "read"):
            content = layout.plan.read_bytes()
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return ()
        raise
    try:
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()
    if document.run_id != run_id or document.format_version > FORMAT_VERSION:
        return ()
    return document.predictions


def add_prediction(layout: RunLayout, run_id: str, prediction: Prediction) -> None:
    """Keep what a session expects, beside those before it; for the holder of the run's lock.

    Raises:
        StorageError: it could not be written.
    """
    document = _Document(run_id, (*read_predictions(layout, run_id), prediction))
    content = msgspec.json.format(msgspec.json.encode(document), indent=2)
    replace_file(layout.plan, content + b"\n")


__all__ = ["add_prediction", "read_predictions"]
