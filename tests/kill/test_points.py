"""`qfbatch run` killed at every named fault point, several times in one run."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from pathlib import Path

import pytest
from scripted import ScriptedServer

from qfbatch.checkpoint.faultpoints import NAMES

from .campaign import Campaign, under_fire
from .damage import flip_bit, largest_journal
from .ledger import Ledger
from .sessions import run
from .verdict import final_rows
from .workload import Workload

pytestmark = pytest.mark.slow

WORKLOAD = Workload(rows=240, shard_rows=40)
JOURNAL = ["journal.created:2", "journal.before-write:3", "journal.after-write:2", "journal.after-sync:3"]
PART = [
    "part.temp-written:1",
    "part.before-rename:2",
    "part.after-rename:1",
    "part.before-unlink:2",
    "part.after-unlink:1",
]
MANIFEST = ["manifest.temp-written", "manifest.before-rename", "manifest.after-rename"]
RECOVERY = ["recovery.before-truncate", "recovery.after-truncate"]
REPAIR = ["recovery.quarantined", "rewrite.temp-written", "rewrite.before-rename", "rewrite.after-rename"]

SUCCESSION = ["succession.ready", "succession.moved", "succession.results", "succession.manifest"]


def strike_at_each(campaign: Campaign, points: list[str], *options: str) -> None:
    """A kill at each point; every one must be reached."""
    for point in points:
        assert campaign.strike_at(point, *options), f"{point} was not reached"


def complete_and_judge(campaign: Campaign) -> None:
    """The run completes, and every promise was kept."""
    toll = campaign.judge([campaign.complete().code])
    assert toll.good, str(toll)


@pytest.mark.parametrize("points", [JOURNAL, PART], ids=["journal", "part"])
def test_killed_while_rows_are_written(points: list[str], tmp_path: Path) -> None:
    """Killed at each point of a commit or merge, nothing is lost, doubled or paid beyond the bound."""
    with under_fire(WORKLOAD, tmp_path) as campaign:
        strike_at_each(campaign, points)
        complete_and_judge(campaign)


def test_killed_while_the_manifest_is_written(tmp_path: Path) -> None:
    """Killed while a session writes its first, its entry or its exit into the manifest, the run goes on."""
    with under_fire(WORKLOAD, tmp_path) as campaign:
        strike_at_each(campaign, MANIFEST)
        strike_at_each(campaign, [f"{point}:2" for point in MANIFEST], "--limit", "30")
        complete_and_judge(campaign)


def test_killed_while_recovering(tmp_path: Path) -> None:
    """Killed in a write, then at each step of its repair, the next session repairs and completes."""
    with under_fire(WORKLOAD, tmp_path) as campaign:
        strike_at_each(campaign, ["journal.half-write:5", *RECOVERY])
        flip_bit(largest_journal(campaign.run))
        campaign.accept_damage()
        strike_at_each(campaign, REPAIR)
        ended = campaign.complete()
        toll = campaign.judge([ended.code])
        assert toll.good, str(toll)
        assert list(campaign.run.glob("journal/*.damaged-*"))


def test_killed_while_a_changed_input_is_accepted(tmp_path: Path) -> None:
    """Killed at each step of moving answers to their rows' new places, none is lost or paid again."""
    ledger_file = tmp_path / "paid.jsonl"
    before = Workload(rows=60, shard_rows=20, kinds=())
    with ScriptedServer(ledger=ledger_file) as server:
        job = before.write(tmp_path, server.base_url)
        assert run(job).code == 0
        lines = (tmp_path / "input.jsonl").read_text().splitlines()
        extra = json.dumps({"id": "row-60", "prompt": before.prompt(60), "group": 4})
        (tmp_path / "input.jsonl").write_text("\n".join([extra, *lines[10:], *lines[5:10]]) + "\n")
        assert run(job).code == 4
        codes = [run(job, "--accept-input-change", point=point).code for point in SUCCESSION]
        assert codes == [-signal.SIGKILL] * len(SUCCESSION)
        assert run(job).code == 0
        with closing(Ledger(ledger_file, from_start=True)) as ledger:
            ledger.read()
            expected = {before.key(model, f"row-{n}"): 1 for model in before.models for n in range(61)}
            assert ledger.paid == expected
    found = final_rows(tmp_path / "run")
    wanted = {(model, f"row-{n}") for model in before.models for n in range(5, 61)}
    assert set(found.select("model", "row_id").rows()) == wanted
    assert found.filter(row_id="row-60")["source_row"].to_list() == [1, 1]
    assert found.filter(row_id="row-10")["source_row"].to_list() == [2, 2]


def test_every_point_is_struck() -> None:
    """No fault point of the checkpoint is left out here."""
    struck = [*JOURNAL, *PART, *MANIFEST, "journal.half-write", *RECOVERY, *REPAIR, *SUCCESSION]
    assert sorted(point.partition(":")[0] for point in struck) == sorted(NAMES)
