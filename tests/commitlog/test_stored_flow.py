"""Everything a run can do on a disk, done in object storage and on a folder that many share."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from scripted import ScriptedServer

import qfbatch
from qfbatch.checkpoint.results import scan_superseded
from qfbatch.cli.main import main
from qfbatch.errors import RunDirectoryError, RunMismatch
from qfbatch.flow.runner import RunResult, run_job
from qfbatch.flow.session import RunOptions
from qfbatch.job.load import load_job

from .stored_runs import SHARD_ROWS, StoredJob

ROWS = 100
STUBBORN = "{{fault: 336000 times=1}}"  # fails once; a second session gets it


@pytest.fixture
def job(tmp_path: Path, service: ScriptedServer, environ: dict[str, str]) -> StoredJob:
    """A job in object storage of 100 rows, every tenth of which fails in its first session."""
    made = StoredJob(tmp_path, service, environ, rows=ROWS)
    lines = (
        json.dumps(
            {"id": f"row-{n}", "prompt": f"question {n}{STUBBORN if n % 10 == 0 else ''}", "topic": n % 3}
        )
        for n in range(ROWS)
    )
    (tmp_path / "input.jsonl").write_text("\n".join(lines) + "\n")
    made.fields["retry"] = {"retry_count": 1}
    made.fields["input"]["path"] = str(tmp_path / "input.jsonl")
    made.write()
    return made


def run(job: StoredJob, environ: dict[str, str], **options: bool | int) -> RunResult:
    """One session in this process."""
    loaded = load_job(job.path, environ=environ)
    return run_job(loaded, RunOptions(**options), environ=environ, observe=lambda _: None)  # type: ignore[arg-type]


def test_failed_rows_are_asked_again(job: StoredJob, environ: dict[str, str]) -> None:
    """`--retry-failed` replaces failed records everywhere: in totals, for readers, under `results/`."""
    first = run(job, environ)
    assert (1, 90, 10) == (first.exit_code, first.succeeded, first.failed)
    again = run(job, environ, retry_failed=True)
    assert (0, 100, 0, 10) == (again.exit_code, again.succeeded, again.failed, again.asked)
    assert {None} != set(job.answers().values())
    assert ["succeeded"] == job.published()["status"].unique().to_list()
    assert 0 == run(job, environ).asked


def test_a_limit_and_then_the_rest(job: StoredJob, environ: dict[str, str]) -> None:
    """The first rows are committed though their shard is not complete; the rest follows, none twice."""
    limited = run(job, environ, limit=SHARD_ROWS + 5)
    assert SHARD_ROWS + 5 == limited.asked == len(job.answers())
    assert SHARD_ROWS == job.published().height
    rest = run(job, environ)
    assert ROWS - SHARD_ROWS - 5 == rest.asked
    assert ROWS == job.published().height == len(job.answers())


def test_fresh_sets_the_answers_aside(job: StoredJob, environ: dict[str, str]) -> None:
    """`--fresh` asks everything again; what was answered before is kept under `earlier/`, whole."""
    run(job, environ, limit=SHARD_ROWS + 5)
    before = job.answers()
    job.fields["parameters"] = {"temperature": 0.5}
    job.write()
    with pytest.raises(RunMismatch, match="temperature"):
        run(job, environ)
    fresh = run(job, environ, fresh=True)
    assert ROWS == fresh.asked == len(job.answers()) == job.published().height
    store = job.run.store
    sources = [store.scan_source(i.key) for i in store.list("earlier/") if i.key.endswith(".parquet")]
    aside = pl.concat([pl.read_parquet(path, storage_options=o) for path, o in filter(None, sources)])
    assert before == dict(aside.select("row_id", "result").iter_rows())


def test_a_changed_input_is_refused(job: StoredJob, environ: dict[str, str]) -> None:
    """Another input is named and refused, with what to do; nothing is lost by it."""
    run(job, environ, limit=5)
    with job.path.with_name("input.jsonl").open("a") as file:
        file.write('{"id": "new", "prompt": "new"}\n')
    with pytest.raises(RunMismatch, match=r"input.jsonl: changed") as caught:
        run(job, environ)
    assert "--accept-input-change" in caught.value.hint
    assert "1 row new" in str(caught.value)
    assert 5 == len(job.answers())


def test_answers_follow_an_accepted_change(job: StoredJob, environ: dict[str, str]) -> None:
    """Rows that are still there keep their answers at their new places; what is gone is kept aside."""
    run(job, environ, limit=SHARD_ROWS + 5)
    before = job.answers()
    path = job.path.with_name("input.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(['{"id": "new", "prompt": "new"}\n', *reversed(lines[1:])]))
    gone = {"row-0"}
    changed = run(job, environ, accept_input_change=True)
    kept = {row: answer for row, answer in before.items() if row not in gone}
    assert ROWS - len(kept) == changed.asked
    now = job.answers()
    assert {"new", *(f"row-{n}" for n in range(1, ROWS))} == set(now) == set(job.published()["row_id"])
    assert now.items() >= kept.items()
    aside = scan_superseded(job.run)
    assert aside is not None
    assert set(before) == set(aside.collect()["row_id"])
    assert 0 == run(job, environ).asked


def test_a_mistyped_job_is_replaced(job: StoredJob, environ: dict[str, str]) -> None:
    """A first try that came to nothing pins nothing: the corrected job simply runs."""
    model = job.fields["models"][0]
    right = model["endpoint"]
    model["endpoint"] = "no-such-endpoint"
    job.write()
    assert 5 == run(job, environ).exit_code
    model["endpoint"] = right
    job.write()
    assert ROWS == run(job, environ).asked


def test_readers_read_it(
    job: StoredJob, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`status`, `report`, `plan`, `export` and the Python API see every committed row, published or not."""
    monkeypatch.chdir(tmp_path)
    run(job, environ, limit=SHARD_ROWS + 5)
    place = str(job.address)
    for command in (["status", place], ["report", place, "--format", "json"], ["plan", "job.yaml"]):
        done = CliRunner().invoke(main, command)
        assert 0 == done.exit_code, done.stderr
        assert "45" in done.stdout
    assert 0 == CliRunner().invoke(main, ["export", place, "out.jsonl"]).exit_code
    assert SHARD_ROWS + 5 == len((tmp_path / "out.jsonl").read_text().splitlines())
    assert SHARD_ROWS + 5 == qfbatch.open_results(place).collect().height


def test_no_secret_stays(job: StoredJob, environ: dict[str, str]) -> None:
    """The store's credentials are in no object of the run."""
    run(job, environ)
    store = job.run.store
    secret = environ["AWS_SECRET_ACCESS_KEY"].encode()
    holding = [info.key for info in store.list() if secret in (store.get(info.key) or b"")]
    assert [] == holding


def test_a_shared_folder(
    tmp_path: Path, service: ScriptedServer, environ: dict[str, str], job: StoredJob
) -> None:
    """A run of many machines keeps a commit log in its folder, and one machine alone resumes and reads it."""
    folder = tmp_path / "shared"
    job.fields["output"]["path"] = str(folder)
    job.write()
    assert 45 == run(job, environ, shared=True, limit=45).asked
    assert {"log", "sessions", "results", "parts"} <= {path.name for path in folder.iterdir()}
    assert ROWS - 45 == run(job, environ).asked
    assert ROWS == pl.scan_parquet(folder / "results" / "*.parquet").collect()["row_id"].n_unique()
    assert ROWS == qfbatch.open_results(folder).collect().height


def test_a_run_with_journals_is_not_shared(job: StoredJob, environ: dict[str, str], tmp_path: Path) -> None:
    """A run that one machine began on its disk is refused to many, with the way out."""
    job.fields["output"]["path"] = str(tmp_path / "local")
    job.write()
    run(job, environ, limit=5)
    with pytest.raises(RunDirectoryError, match="journals that many cannot share"):
        run(job, environ, shared=True)
