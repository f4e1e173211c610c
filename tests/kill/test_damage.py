"""Files damaged between two sessions: repaired and said, or refused by name; never silently skipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import copy
from pathlib import Path

import pytest
from scripted import ScriptedServer

from .damage import flip_bit, largest_journal, truncate, zero_tail
from .ledger import Ledger, drain
from .sessions import Session, run
from .verdict import closed_rows, committed_rows
from .workload import Workload

pytestmark = pytest.mark.slow
ROWS = 300
SLOWLY = ("--concurrency", "2")  # so that a busy machine acts before the run is over


class Stopped:
    """A run that was killed with shards closed and shards open.

    Args:
        folder: for its files.
        server: answers.
        ledger: what was paid.
    """

    def __init__(self, folder: Path, server: ScriptedServer, ledger: Ledger) -> None:
        self.workload = Workload(
            rows=ROWS,
            shard_rows=80,
            concurrency=8,
            models={"one": server.endpoint("echo,delay=0.02")},
            kinds=(),
        )
        self.job = self.workload.write(folder, server.base_url)
        self.run = folder / "run"
        self.ledger = ledger

        def some_paid() -> bool:
            ledger.read()
            return ledger.total >= 140

        with Session(self.job, *SLOWLY) as session:
            assert session.watch(some_paid)
            session.kill()
        drain(server, self.workload.models.values())
        ledger.read()
        self.paid = ledger.total
        self.committed = committed_rows(self.run).height
        assert list(self.run.glob("results/*.parquet"))

    def at(self, folder: Path, ledger: Ledger) -> Stopped:
        """The same run in a folder of its own; the ledger counts on from what was paid."""
        moved = copy(self)
        shutil.copytree(self.job.parent, folder, dirs_exist_ok=True)
        moved.job, moved.run, moved.ledger = folder / self.job.name, folder / "run", ledger
        ledger.paid = self.ledger.paid.copy()
        return moved

    def completes(self, *, costing: int = 0, at_least: int = 0) -> str:
        """Run to completion; at most so many committed rows are paid again. Returns what was said."""
        ended = run(self.job)
        assert ended.code == 0, ended.stderr
        self.ledger.read()
        assert closed_rows(self.run).height == len(self.ledger.paid) == ROWS
        again = self.ledger.total - ROWS - (self.paid - self.committed)
        assert at_least <= again <= costing
        return ended.stderr

    def refused(self, *words: str) -> None:
        """Run; exit 4 with a message of these words, no call, and no traceback."""
        ended = run(self.job)
        assert ended.code == 4
        assert "Traceback" not in ended.stderr
        assert [word for word in words if word not in ended.stderr] == []
        self.ledger.read()
        assert self.ledger.total == self.paid


@pytest.fixture(scope="module")
def killed(
    tmp_path_factory: pytest.TempPathFactory, server: ScriptedServer, ledger_file: Path
) -> Iterator[Stopped]:
    """A killed run with parts and a journal, for all tests."""
    with closing(Ledger(ledger_file)) as ledger:
        yield Stopped(tmp_path_factory.mktemp("killed"), server, ledger)


@pytest.fixture
def stopped(killed: Stopped, tmp_path: Path, ledger: Ledger) -> Stopped:
    """That run, for this test alone: what it damages and pays is its own."""
    return killed.at(tmp_path, ledger)


def test_bit_flipped_inside_a_journal(stopped: Stopped) -> None:
    """A damaged line costs its own row; the file is kept aside and named."""
    journal = largest_journal(stopped.run)
    flip_bit(journal, line=3)
    said = stopped.completes(costing=1, at_least=1)
    assert f"{journal.name}: 1 line was damaged" in said
    assert f"kept as {journal.name}.damaged-1" in said
    assert journal.with_name(f"{journal.name}.damaged-1").exists()


def test_journal_header_damaged(stopped: Stopped) -> None:
    """A journal whose first line is damaged keeps its rows, for each line says whose it is."""
    journal = largest_journal(stopped.run)
    flip_bit(journal, line=0)
    assert f"{journal.name}: its header is damaged" in stopped.completes()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(zero_tail, "cut 4,096 bytes of an unfinished write", id="zeros"),
        pytest.param(lambda path: truncate(path, 0.97), "of an unfinished write off its end", id="cut"),
    ],
)
def test_torn_journal(stopped: Stopped, harm: Callable[[Path], None], said: str) -> None:
    """A torn or zero-filled tail is cut off and said; whole lines before it count."""
    journal = largest_journal(stopped.run)
    lines = len(journal.read_bytes().splitlines())
    harm(journal)
    torn = lines - journal.read_bytes().count(b"\n")
    assert said in stopped.completes(costing=torn, at_least=torn)


@pytest.mark.parametrize(
    "harm", [lambda path: path.write_bytes(b"no parquet"), truncate], ids=["garbage", "cut"]
)
def test_part_damaged(stopped: Stopped, harm: Callable[[Path], None]) -> None:
    """A damaged part is refused by name; moved away, as told, only its rows are asked again."""
    part = next(iter(sorted(stopped.run.glob("results/*.parquet"))))
    harm(part)
    stopped.refused(part.name, "move this file away")
    part.rename(part.with_suffix(".moved"))
    stopped.completes(costing=80, at_least=80)


def test_results_folder_deleted(stopped: Stopped) -> None:
    """Without its results folder a run asks the rows that stood there again, and those alone."""
    lost = closed_rows(stopped.run).height
    for part in stopped.run.glob("results/*"):
        part.unlink()
    (stopped.run / "results").rmdir()
    stopped.completes(costing=lost, at_least=lost)


def test_journal_folder_deleted(stopped: Stopped) -> None:
    """Without its journals a run asks the rows of open shards again, and those alone."""
    lost = stopped.committed - closed_rows(stopped.run).height
    for journal in stopped.run.glob("journal/*"):
        journal.unlink()
    (stopped.run / "journal").rmdir()
    stopped.completes(costing=lost, at_least=lost)


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b'{"run_id": '], ids=["empty", "zeros", "cut"])
def test_manifest_damaged(stopped: Stopped, content: bytes) -> None:
    """A damaged manifest is refused by name, never replaced by a guess; restored, the run goes on."""
    manifest = stopped.run / "manifest.json"
    good = manifest.read_bytes()
    manifest.write_bytes(content)
    stopped.refused("manifest.json: damaged", "Restore this file")
    assert manifest.read_bytes() == content
    manifest.write_bytes(good)
    stopped.completes()
