"""`qfbatch clean`: orphans are shown and removed; what is committed, or may still be, is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoint.rows import COLUMNS, RUN_ID, plan, record
from click.testing import CliRunner
from kill.sessions import Session
from scripted import ScriptedServer
from storage.memory import MemoryStore

from qfbatch.checkpoint.cleaning import find_orphans, remove_orphans
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.place import StoredRun
from qfbatch.cli.main import main
from qfbatch.errors import Fenced
from qfbatch.storage.folder import FolderStore

from .stored_runs import StoredJob


def writer(store: MemoryStore, name: str) -> LogCheckpoint:
    """A writer of one shard of 4 rows."""
    return LogCheckpoint(store, ["m"], plan(1, 4), COLUMNS, RUN_ID, writer=name)


def test_a_part_that_might_still_be_named_is_fenced_before_it_goes() -> None:
    """A writer frozen between a part and its entry commits nothing once its part was removed as an orphan."""
    orphan = "parts/m-000000/000001-0002.parquet"

    class Freezing(MemoryStore):
        """Cleans the run when the frozen writer is about to name its second part."""

        def put_if_absent(self, key: str, content: bytes) -> bool:
            """As ever."""
            if key.endswith("000003.json") and b"frozen" in content:
                removed.extend(i.key for i in remove_orphans(StoredRun(self), RUN_ID, "cleaner"))
            return super().put_if_absent(key, content)

    removed: list[str] = []
    store = Freezing()
    frozen = writer(store, "frozen")
    frozen.open_shard("m", 0)
    frozen.commit("m", 0, [record(0)])
    with pytest.raises(Fenced):
        frozen.commit("m", 0, [record(1)])
    assert [orphan] == removed
    assert {"row-0"} == set(writer(store, "reader").open_shard("m", 0))


def test_what_is_committed_stays() -> None:
    """Parts that a log names, results and logs are no orphans; a crashed writer's part and a trial are."""
    store = MemoryStore()
    only = writer(store, "only")
    only.open_shard("m", 0)
    only.commit("m", 0, [record(0)])
    kept = dict(store.objects)
    store.put("parts/m-000000/000001-0007.parquet", b"never named")
    store.put("probe/trial", b"")
    run = StoredRun(store)
    assert ["parts/m-000000/000001-0007.parquet", "probe/trial"] == [i.key for i in find_orphans(run, RUN_ID)]
    assert 2 == len(remove_orphans(run, RUN_ID, "cleaner"))
    assert [] == find_orphans(run, RUN_ID)
    assert kept.items() <= store.objects.items()


def test_temporary_files_of_killed_writers(tmp_path: Path) -> None:
    """In a folder, what a kill left of a file before it had its name is an orphan, wherever it is."""
    store = FolderStore(tmp_path)
    only = LogCheckpoint(store, ["m"], plan(1, 4), COLUMNS, RUN_ID, writer="only")
    only.open_shard("m", 0)
    only.commit("m", 0, [record(0)])
    kept = list(store.list())
    left = [".tmp-status.json.a-1-0", "log/m-000000/.tmp-000003.json.a-1-1", "parts/m-000000/.tmp-b.a-1-2"]
    for name in left:
        (tmp_path / name).write_bytes(b"torn")
    run = StoredRun(store)
    assert left == [info.key for info in find_orphans(run, RUN_ID)]
    assert left == [info.key for info in remove_orphans(run, RUN_ID, "cleaner")]
    assert [] == find_orphans(run, RUN_ID)
    assert kept == list(store.list())


@pytest.mark.slow
def test_the_command(
    tmp_path: Path, service: ScriptedServer, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows what a kill left, removes it when told to, and the run goes on as if nothing had happened."""
    monkeypatch.chdir(tmp_path)
    job = StoredJob(tmp_path, service, environ, rows=80)
    with job.session(point="log.part-put") as session:
        assert session.end().killed
    shown = CliRunner().invoke(main, ["clean", str(job.address)])
    assert shown.exit_code == 0
    # One of each shard whose part was being put at that moment, and the others may have come as far.
    assert shown.stdout.count(".parquet") in (1, 2)
    assert "add --yes" in shown.stderr
    removed = CliRunner().invoke(main, ["clean", "job.yaml", "--yes"])
    assert (0, shown.stdout) == (removed.exit_code, removed.stdout)
    assert "nothing to remove" in CliRunner().invoke(main, ["clean", str(job.address)]).stderr
    with job.session() as session:
        assert 0 == session.end().code
    assert 80 == len(job.answers())
    assert "nothing to remove" in CliRunner().invoke(main, ["clean", str(job.address)]).stderr


@pytest.mark.cluster
def test_a_folder_with_journals(
    tmp_path: Path, service: ScriptedServer, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk the temporary files of a killed process are shown and removed."""
    monkeypatch.chdir(tmp_path)
    job = StoredJob(tmp_path, service, environ, rows=80)
    job.fields["output"] = {"path": "run"}
    job.write()
    with Session(job.path, point="part.temp-written") as session:
        assert session.end().killed
    shown = CliRunner().invoke(main, ["clean", "run"])
    assert (0, 1) == (shown.exit_code, shown.stdout.count(".tmp-"))
    assert 0 == CliRunner().invoke(main, ["clean", "run", "--yes"]).exit_code
    assert "nothing to remove" in CliRunner().invoke(main, ["clean", "run"]).stderr
