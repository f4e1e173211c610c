"""The environment a job is read in: the process's own over the `.env` of the working directory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from qfbatch.errors import UsageError


def environment(directory: Path, base: Mapping[str, str]) -> dict[str, str]:
    """Variables by name: those of `.env` in `directory`, overridden by `base`.

    `.env` is read as it stands: nothing is expanded in it, and the process's environment is not changed.
    Lines that assign nothing are passed over.

    Raises:
        UsageError: there is a `.env` that cannot be read.
    """
    path = directory / ".env"
    if not path.is_file():
        return dict(base)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        hint = "Give it back its permissions, or remove it."
        raise UsageError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text", hint="Save it as UTF-8.") from error
    assigned = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {**{name: value for name, value in assigned.items() if value is not None}, **base}
