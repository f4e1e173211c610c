"""A new generation of a run's results, made beside the old one and then put in its place.

Used when the input changed and the user accepts it: answers of rows that are still there move to where
their rows now stand. The old generation is never deleted: it goes to `superseded/<n>/`, answers of rows that
are gone included, for they were paid for.

    next/results/…, next/manifest.json, next/input.keys    being made; without `next/ready` it is thrown away
    next/ready                                             complete: from here on it only goes forward

Every step of going forward is a rename that a repeated call passes over, so a crash anywhere is made good by
the next start (`finish`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from qfbatch.checkpoint import faultpoints
from qfbatch.checkpoint.files import make_folder, replace_file, storage_errors, sync_folder
from qfbatch.checkpoint.layout import RunLayout

READY = "ready"


class Succession:
    """The next generation of a run directory; for the holder of its lock.

    Args:
        layout: the run directory.
    """

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self.next = RunLayout(layout.path / "next")

    def begin(self) -> None:
        """Make room for a new generation, throwing away one that was never completed.

        Raises:
            StorageError: it could not be done.
        """
        with storage_errors(self.next.path, "clear the folder"):
            if self.next.path.exists():
                shutil.rmtree(self.next.path)
        make_folder(self.next.results)

    def commit(self) -> None:
        """The new generation is complete on disk, manifest and keys included: put it in place.

        Raises:
            StorageError: it could not be done; the next start goes on with it.
        """
        replace_file(self.next.path / READY, b"")
        faultpoints.hit("succession.ready")
        self.finish()

    def finish(self) -> bool:
        """Put a complete generation in place, or throw an incomplete one away.

        Returns:
            Whether there was a complete one.

        Raises:
            StorageError: it could not be done; the next start tries again.
        """
        ready = self.next.path / READY
        if not ready.exists():
            if self.next.path.exists():
                self.begin()
                with storage_errors(self.next.path, "remove the folder"):
                    shutil.rmtree(self.next.path)
            return False
        layout = self._layout
        with storage_errors(layout.path, "rename in the folder"):
            if self.next.results.exists():
                aside = self._aside()
                for folder in (layout.journals, layout.results):
                    if folder.exists():
                        make_folder(aside)
                        folder.rename(aside / folder.name)
                        faultpoints.hit("succession.moved")
                self.next.results.rename(layout.results)
                sync_folder(layout.path)
            faultpoints.hit("succession.results")
            for new, place in ((self.next.keys, layout.keys), (self.next.manifest, layout.manifest)):
                if new.exists():
                    new.replace(place)
            sync_folder(layout.path)
            faultpoints.hit("succession.manifest")
            shutil.rmtree(self.next.path)
        make_folder(layout.journals)
        return True

    def _aside(self) -> Path:
        """The folder of the generation being superseded: a new one, or the one a crash left half filled."""
        number = 1
        while (aside := self._layout.superseded / f"{number:03d}" / self._layout.results.name).exists():
            number += 1
        return aside.parent


__all__ = ["Succession"]
