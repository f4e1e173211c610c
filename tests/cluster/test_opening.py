"""How a node finds the run that its driver has opened."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from qfbatch.checkpoint.logbook import log_name
from qfbatch.checkpoint.place import StoredRun
from qfbatch.cluster.messages import Assignment
from qfbatch.cluster.node import open_assigned
from qfbatch.flow.session import RunOptions, open_session
from qfbatch.job.load import load_job

from .runs import write_job


def test_a_node_works_under_the_answers_that_the_driver_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an accepted change of the input, what nodes commit belongs to the new generation of answers."""
    monkeypatch.chdir(tmp_path)
    job = load_job(write_job(tmp_path, "http://127.0.0.1:9", "e", rows=4, shard_rows=2), environ={})
    options = RunOptions(shared=True)
    with open_session(job, options, now=lambda: 0.0) as session:
        manifest = msgspec.structs.replace(session.manifest, generation="2")
        assignment = Assignment("node-1", job, options, {}, {}, 1.0)
        opened = open_assigned(assignment, manifest)
        opened.checkpoint.open_shard("m", 0)
        assert isinstance(session.layout, StoredRun)
        log = StoredRun(session.layout.store).logbook(manifest.log_id).read()[log_name("m", 0)]
        assert (True, "node-1") == (log.ours, log.owner)
