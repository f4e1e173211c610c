"""SIGKILL at every named point and at random moments, then again until complete."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import polars as pl
import pytest

from qfbatch.checkpoint.faultpoints import NAMES
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.results import scan_results

from .child import MODELS
from .rows import record
from .running import Said, finish, run_child, start

ALL = {f"{model} row-{n}" for model in MODELS for n in range(120)}
GROUP_ROWS = 16


def assert_complete(run: Path, *, retried: bool = False) -> None:
    """Every row exactly once with the one right answer, in readable parts, and nothing left lying about."""
    layout = RunLayout(run)
    frame = pl.read_parquet(layout.results / "*.parquet")
    found = {f"{m} {r}": a for m, r, a in frame.select("model", "row_id", "result").iter_rows()}
    assert frame.height == len(found)
    assert set(found) == ALL
    for number in range(120):
        failed = record(number).result is None
        expected = record(number, take=2 if retried and failed else 1).result
        assert {found[f"{model} row-{number}"] for model in MODELS} == {expected}
    assert scan_results(layout).select("model", "row_id").collect().unique().height == len(ALL)
    names = [path.name for path in run.rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith(".tmp-") or name.endswith(".journal")]


def assert_nothing_paid_twice(sessions: list[Said], *, damaged: int = 0) -> None:
    """No committed row was asked again; what was asked twice is bounded by one group for every kill."""
    committed: set[str] = set()
    for said in sessions:
        assert len(committed & set(said.asked)) <= damaged
        committed |= set(said.committed)
    asked = [row for said in sessions for row in said.asked]
    kills = len([said for said in sessions if said.code])
    assert len(asked) - len(set(asked)) <= kills * (GROUP_ROWS + 1) + damaged


@pytest.mark.parametrize(
    "point", [n for n in NAMES if not n.startswith(("recovery", "rewrite", "succession"))]
)
def test_kill_at_a_point_loses_and_doubles_nothing(point: str, tmp_path: Path) -> None:
    """Killed at any named point, the next run completes without asking a committed row again."""
    run = tmp_path / "run"
    passing = 1 if point.startswith("manifest") else 3
    first = run_child(run, fault=f"{point}:{passing}")
    assert first.code == -signal.SIGKILL
    second = run_child(run)
    assert second.code == 0
    assert_complete(run)
    assert_nothing_paid_twice([first, second])


@pytest.mark.parametrize("point", [n for n in NAMES if n.startswith(("recovery", "rewrite"))])
def test_kill_during_recovery_loses_nothing_more(point: str, tmp_path: Path) -> None:
    """Killed while repairing a journal, the next run repairs it again and completes."""
    run = tmp_path / "run"
    sessions = [run_child(run, fault="journal.half-write:5")]
    damaged = 0
    if point not in {"recovery.before-truncate", "recovery.after-truncate"}:
        journal = max(run.glob("journal/*.journal"), key=lambda path: path.stat().st_size)
        content = bytearray(journal.read_bytes())
        content[content.index(b"\n") + 40] ^= 1
        journal.write_bytes(content)
        damaged = 1
    sessions.append(run_child(run, fault=point))
    assert [said.code for said in sessions] == [-signal.SIGKILL] * 2
    sessions.append(run_child(run))
    assert sessions[-1].code == 0
    assert_complete(run)
    assert_nothing_paid_twice(sessions, damaged=damaged)


@pytest.mark.parametrize("point", [n for n in NAMES if n.startswith("part")])
def test_kill_while_a_part_is_replaced(point: str, tmp_path: Path) -> None:
    """Killed while retried rows are merged over an existing part, old and new answers are all there."""
    run = tmp_path / "run"
    assert run_child(run).code == 0
    killed = run_child(run, retry=True, fault=f"{point}:2")
    assert killed.code == -signal.SIGKILL
    assert scan_results(RunLayout(run)).collect().height == len(ALL)
    last = run_child(run, retry=True)
    assert last.code == 0
    assert not set(killed.committed) & set(last.asked)
    assert_complete(run, retried=True)


def test_kills_at_random_moments(tmp_path: Path) -> None:
    """Killed again and again wherever it happens to be, the run completes with nothing lost or doubled."""
    run = tmp_path / "run"
    chance = random.Random(7)
    sessions = []
    for _ in range(8):
        process = start(run, pause_s=0.001)
        assert process.stdout is not None
        head = [process.stdout.readline() for _ in range(chance.randrange(1, 90))]
        process.kill()
        rest = finish(process)
        words = [line.strip().partition(" ")[::2] for line in head]
        asked = [text for word, text in words if word == "asked"] + rest.asked
        committed = [text for word, text in words if word == "committed"] + rest.committed
        sessions.append(Said(rest.code, asked, committed, [], []))
    sessions.append(run_child(run))
    assert sessions[-1].code == 0
    assert_complete(run)
    assert_nothing_paid_twice(sessions)


def test_complete_run_asks_nothing(tmp_path: Path) -> None:
    """A complete run, started again, asks no row and leaves its parts untouched."""
    run = tmp_path / "run"
    assert run_child(run).code == 0
    before = {path: path.stat().st_mtime_ns for path in run.glob("results/*")}
    again = run_child(run)
    assert (again.code, again.asked) == (0, [])
    assert {path: path.stat().st_mtime_ns for path in run.glob("results/*")} == before
