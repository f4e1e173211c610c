"""Where object storage is reached and with which credentials, as the environment says; never shown."""

from __future__ import annotations

from collections.abc import Mapping

_PREFIX = "AWS_"


class StorageAccess:
    """The `AWS_…` variables of an environment; neither `repr` nor `str` shows what they hold.

    Args:
        environ: the environment; only names that begin with `AWS_` are kept.
    """

    __slots__ = ("_variables",)

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._variables = {name: text for name, text in (environ or {}).items() if name.startswith(_PREFIX)}

    def get(self, name: str) -> str:
        """A variable's text; empty where it is not set."""
        return self._variables.get(name, "")

    def __repr__(self) -> str:
        return "StorageAccess(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorageAccess) and self._variables == other._variables

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._variables)))


__all__ = ["StorageAccess"]
