"""Dialects of other packages, which register them as entry points of the group `qfbatch.dialects`.

Nothing is imported until a job names a dialect that qfbatch itself does not have.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from qfbatch.service.dialect import Dialect

GROUP = "qfbatch.dialects"
MEMBERS = (
    "name",
    "rules",
    "access",
    "takes_messages",
    "refuse_endpoint",
    "key_variables",
    "encode",
    "decode",
    "stream_decoder",
    "rate_signals",
)


class UnusableDialect(ValueError):  # noqa: N818 - reads as the state it reports
    """A package registers a dialect that cannot be used; the message names the package."""


@cache
def installed_dialect(name: str) -> Dialect | None:
    """The dialect that an installed package registers under this name; None where none does.

    Raises:
        UnusableDialect: it cannot be imported or is no dialect, or several packages claim the name.
    """
    # The same distribution may be found twice on the path: what it registers is the same.
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if len(found) > 1:
        owners = " and ".join(sorted(map(_owner, found.values())))
        raise UnusableDialect(f'"{name}" is registered by {owners}; keep one of them installed')
    return _load(name, next(iter(found.values()))) if found else None


def _load(name: str, entry: EntryPoint) -> Dialect:
    about = f'"{name}" of {_owner(entry)}'
    try:
        loaded = entry.load()
        dialect: Dialect = loaded() if isinstance(loaded, type) else loaded
    except (Exception, SystemExit) as error:  # a module may even end its process while it is imported
        raise UnusableDialect(f"{about} cannot be loaded: {type(error).__name__}: {error}") from error
    missing = [member for member in MEMBERS if not hasattr(dialect, member)]
    if missing:
        raise UnusableDialect(f"{about} is no dialect: it has no {', '.join(missing)}")
    if dialect.name != name:
        raise UnusableDialect(f'{about} calls itself "{dialect.name}"; the two names must be the same')
    return dialect


def _owner(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
