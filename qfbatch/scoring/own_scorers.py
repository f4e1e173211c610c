"""A user's own scorers: functions that a job names as `module:function`.

They are imported like any module, and from the folders given: these come last on the way, so that a file
there never stands in for a module of Python's or of a package.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from qfbatch.errors import UsageError
from qfbatch.scoring.scorers import Judge


def load_function(spec: str, folders: Sequence[Path]) -> Judge:
    """The function that a job names.

    Args:
        spec: `module:function`; the module may have dots.
        folders: where modules are looked for beside what is installed.

    Raises:
        UsageError: there is no such module or function, or importing it failed.
    """
    module_name, _, name = spec.partition(":")
    for folder in map(str, (folder.resolve() for folder in folders)):
        if folder not in sys.path:
            sys.path.append(folder)
    importlib.invalidate_caches()
    looked = ", ".join(dict.fromkeys(str(folder.resolve()) for folder in folders))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UsageError(
                f"evaluation: {spec}: there is no module {error.name}",
                hint=f"It is looked for among the installed packages and in {looked}.",
            ) from None
        raise _broken(spec, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(spec, error) from error
    function = getattr(module, name, None)
    if not callable(function):
        place = getattr(module, "__file__", None) or module_name
        raise UsageError(
            f"evaluation: {spec}: there is no function {name} in {place}",
            hint="Name a function of three arguments: answer, reference and row.",
        )
    judge: Judge = function
    return judge


def _broken(spec: str, error: BaseException) -> UsageError:
    return UsageError(
        f"evaluation: {spec}: importing it failed: {type(error).__name__}: {error}",
        hint="`python -c 'import " + spec.partition(":")[0] + "'` shows where.",
    )


__all__ = ["load_function"]
