"""A report's or comparison's page as a file: where it may stand, and what is needed to make it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from qfbatch.checkpoint.files import replace_file, storage_errors
from qfbatch.checkpoint.results import scan_results
from qfbatch.cli.target import Run
from qfbatch.errors import StorageError, UsageError
from qfbatch.render.section import Section
from qfbatch.reporting.compared import Comparison
from qfbatch.reporting.selection import sample

_SIGNATURE_WITHIN = 400  # bytes from a page's beginning


@dataclass(frozen=True, slots=True)
class Page:
    """A page to be written.

    Attributes:
        named: the file as the user named it.
        path: the file, symlinks followed.
        renderer: `qfbatch.render.html.page`, loaded only where a page is asked for.
    """

    named: Path
    path: Path
    renderer: Any

    @classmethod
    def at(cls, file: Path) -> Page:
        """A page that can be written there: found out before any work is done for it.

        Raises:
            UsageError: the place is none for a page, or a package is missing.
        """
        try:
            renderer = importlib.import_module("qfbatch.render.html.page")
        except ImportError as error:
            raise UsageError(
                f"--html needs a package that is not installed: {error.name or error}",
                hint="Install it with: pip install 'qfbatch[html]'",
            ) from None
        path = file.resolve()
        if not path.parent.is_dir():
            raise UsageError(
                f"{file}: there is no folder {path.parent}", hint="Create it, or name another file."
            )
        if path.exists() and not _is_ours(path, renderer.GENERATOR):
            raise UsageError(
                f"{file}: exists already and is not a page of qfbatch's",
                hint="Only earlier pages are replaced. Name another file, or remove this one.",
            )
        return cls(file, path, renderer)

    def write(self, runs: Sequence[Run], sections: Sequence[Section], *, prompts: int) -> None:
        """Make the page and put it in its place, whole or not at all; then say so on stderr.

        Args:
            runs: what it is about.
            sections: their figures, in the same order.
            prompts: how many prompts of each run to show with their answers; 0 shows none.

        Raises:
            StorageError: results cannot be read, or the page cannot be written.
        """
        samples = [
            sample(scan_results(run.layout), models=[c.model for c in section.coverage], prompts=prompts)
            if prompts
            else None
            for run, section in zip(runs, sections, strict=True)
        ]
        self._put(self.renderer.render(sections, samples))

    def write_comparisons(self, comparisons: Sequence[Comparison]) -> None:
        """Likewise for comparisons.

        Raises:
            StorageError: the page cannot be written.
        """
        self._put(self.renderer.render_comparisons(comparisons))

    def _put(self, text: str) -> None:
        content = text.encode()
        try:
            replace_file(self.path, content)
        except StorageError as error:
            raise StorageError(
                error.message, hint="No page was written. Make room or name another place."
            ) from error
        click.echo(f"page: {self.named} ({len(content) / 1000:,.0f} kB)", err=True)


def _is_ours(path: Path, signature: str) -> bool:
    if not path.is_file():
        return False
    with storage_errors(path, "read"), path.open("rb") as file:
        return signature.encode() in file.read(_SIGNATURE_WITHIN)


__all__ = ["Page"]
