"""What each session of a run expected when it started: `plan.json`, for reports to compare with what came."""

from __future__ import annotations

import msgspec

from qfbatch.checkpoint.place import RunPlace, read_content, replace_content
from qfbatch.planning.plans import Prediction

NAME = "plan.json"
FORMAT_VERSION = 1


class _Document(msgspec.Struct, frozen=True):
    """The whole file."""

    run_id: str
    predictions: tuple[Prediction, ...] = ()
    format_version: int = FORMAT_VERSION


def read_predictions(place: RunPlace, run_id: str) -> tuple[Prediction, ...]:
    """What the sessions of a run expected, oldest first.

    Sessions that found nothing left to do have none. A file that is missing, damaged, of another run or of a
    later format gives none either: a plan is good to know and nothing depends on it.

    Args:
        place: the run directory.
        run_id: the manifest's.

    Raises:
        StorageError: the file is there and can't be read.
    """
    content = read_content(place, NAME)
    if content is None:
        return ()
    try:
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()
    if document.run_id != run_id or document.format_version > FORMAT_VERSION:
        return ()
    return document.predictions


def add_prediction(place: RunPlace, run_id: str, prediction: Prediction) -> None:
    """Keep what a session expects, beside those before it; for the holder of the run's lock.

    Raises:
        StorageError: it could not be written.
    """
    document = _Document(run_id, (*read_predictions(place, run_id), prediction))
    content = msgspec.json.format(msgspec.json.encode(document), indent=2)
    replace_content(place, NAME, content + b"\n")


__all__ = ["add_prediction", "read_predictions"]
