"""`qfbatch status`: what another shell sees of a run, while it goes on and after it ended in whatever way."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from cli.desk import Desk, wait_until
from qfbatch.checkpoint.layout import RunLayout
from qfbatch.checkpoint.results import scan_results
from qfbatch.cli import status as status_command


def status(desk: Desk, target: str = "job.yaml") -> dict[str, Any]:
    """What `qfbatch status` says as JSON."""
    done = desk.type("status", target, "--format", "json")
    assert (0, "") == (done.code, done.err)
    found: dict[str, Any] = json.loads(done.out)
    return found


def picture(folder: Path) -> dict[str, tuple[int, int]]:
    """All files of a folder with size and time of change."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def committed(desk: Desk) -> tuple[int, int]:
    """Rows and tokens on disk, by another reader."""
    frame = scan_results(RunLayout(desk.path / "runs/desk")).collect()
    return frame.height, int(frame["total_tokens"].sum())


def test_a_run_that_goes_on_ends_in_order_and_is_resumed(desk: Desk) -> None:
    """While it runs: its process, rates and models; interrupted: what is on disk; complete: nothing left."""
    desk.rows(60)
    price = {"prompt_per_1k": 1, "completion_per_1k": 2}
    model = {"name": "m", "endpoint": desk.server.endpoint("echo,delay=0.2"), "price": price}
    desk.job(models=[model], limits={"concurrency": 2})
    with desk.running("run", "job.yaml") as process:
        wait_until((desk.path / "runs/desk/status.json").exists)
        wait_until(lambda: status(desk)["done"] > 0)
        seen = status(desk, "runs/desk")
        assert ("running", process.pid) == (seen["state"], seen["holder"]["pid"])
        assert 60 == seen["done"] + seen["models"]["m"]["left"]
        assert 0 < seen["in_flight"] <= 2
        assert seen["outlook"]["rows_per_s"] > 0
        assert seen["outlook"]["eta_s"] > 0
        assert seen["outlook"]["cost"]["CNY"] > seen["models"]["m"]["cost"]["CNY"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    before = picture(desk.path / "runs")
    seen = status(desk)
    assert ("interrupted", None, None) == (seen["state"], seen["holder"], seen["outlook"])
    assert committed(desk) == (seen["done"], seen["models"]["m"]["total_tokens"])
    assert before == picture(desk.path / "runs")
    assert 0 == desk.type("run", "job.yaml", "--concurrency", "60").code
    seen = status(desk)
    assert ("complete", 60, 0, 2) == (
        seen["state"],
        seen["done"],
        seen["models"]["m"]["left"],
        seen["sessions"],
    )


def test_a_killed_run_is_told_from_what_is_committed(desk: Desk) -> None:
    """A process that died left a status file behind: nothing of it counts but what is on disk."""
    desk.rows(60)
    desk.job(endpoint="echo,delay=0.1", limits={"concurrency": 2})
    with desk.running("run", "job.yaml") as process:
        wait_until((desk.path / "runs/desk/status.json").exists)
        wait_until(lambda: committed(desk)[0] >= 5)
        process.kill()
        process.wait()
    seen = status(desk)
    assert ("killed", None) == (seen["state"], seen["holder"])
    assert committed(desk) == (seen["done"], seen["models"]["m"]["total_tokens"])
    assert "ended without a word" in desk.type("status", "job.yaml").out


@pytest.mark.parametrize(
    ("endpoint", "sections", "arguments", "state"),
    [
        ("echo", {"budget": {"max_total_tokens": 10}}, (), "budget_reached"),
        ("echo,fault=17", {}, (), "refused"),
        ("echo", {}, ("--limit", "3"), "unfinished"),
        ("echo,fault=336103", {}, (), "complete"),
    ],
)
def test_how_a_run_ended(
    desk: Desk, endpoint: str, sections: dict[str, Any], arguments: tuple[str, ...], state: str
) -> None:
    """Stopped at the budget, refused, limited to some rows, complete with failures: each is told apart."""
    desk.rows(6)
    desk.job(endpoint=endpoint, **sections)
    desk.type("run", "job.yaml", "--concurrency", "1", *arguments)
    seen = status(desk)
    assert state == seen["state"]
    assert committed(desk)[0] == seen["done"]
    assert (6 if state == "complete" else 0) == seen["failed"]


def test_watching_ends_with_the_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a look while the run goes on, then the whole status; as JSON an object a line."""
    desk.rows(400)
    desk.job(endpoint="echo,delay=0.2", limits={"concurrency": 1})
    with desk.running("run", "job.yaml") as process:
        wait_until((desk.path / "runs/desk/status.json").exists, process)
        with desk.running("status", "job.yaml", "--watch", "0.5", stdout=PIPE) as watching:
            assert watching.stdout is not None
            first = watching.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest = watching.stdout.read()
            watching.wait()
    assert first.startswith("desk: running, ")
    assert watching.returncode == 0
    assert "desk: interrupted, " in rest
    assert "the same `qfbatch run` resumes it" in rest
    monkeypatch.setattr(status_command, "PATIENCE_S", 0.0)
    again = desk.type("status", "job.yaml", "--watch", "--format", "json")
    assert ["interrupted"] == [json.loads(line)["state"] for line in again.out.splitlines()]


def test_a_watch_waits_for_a_run_that_is_just_starting(desk: Desk) -> None:
    """A watch begun before the run says that it waits, then watches; a complete run ends it at once."""
    desk.rows(40)
    desk.job(endpoint="echo,delay=0.1", limits={"concurrency": 1})
    with desk.running("status", "job.yaml", "--watch", "0.5", stdout=PIPE, stderr=PIPE) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert "has not been run yet" in (told := watching.stderr.readline())
        assert "; waiting " in told
        with desk.running("run", "job.yaml") as process:
            first = watching.stdout.readline()
            assert process.wait() == 0
        rest = watching.stdout.read()
        watching.wait()
    assert first.startswith(("desk: starting, ", "desk: running, "))
    assert (0, True) == (watching.returncode, "desk: complete, 40 of 40 rows" in rest)
    again = desk.type("status", "job.yaml", "--watch")
    assert (0, "") == (again.code, again.err)


def test_a_complete_run_with_failures_names_the_next_step(desk: Desk) -> None:
    """Its status, and its plan, say how the failed rows are asked again."""
    desk.rows(["fine", "{{fault: 336003}} broken"])
    desk.job()
    assert desk.type("run", "job.yaml").code == 1
    assert "`qfbatch run --retry-failed` asks it again" in desk.type("status", "job.yaml").out
    assert "1 row failed; --retry-failed asks" in " ".join(desk.type("plan", "job.yaml").out.split())


def test_chinese_names_line_up(desk: Desk) -> None:
    """Wide names take two places a character, so that the columns behind them stand below their heads."""
    desk.rows(2)
    models = [{"name": name, "endpoint": desk.server.endpoint("echo")} for name in ("中文模型", "plain")]
    desk.job(models=models)
    assert desk.type("run", "job.yaml").code == 0
    head, chinese, plain = desk.type("status", "job.yaml").out.splitlines()[4:7]
    assert head.startswith("model     done ")
    assert (chinese.index("2"), plain.index("2")) == (len("中文模型") + 5, len("中文模型") + 9)


def test_mistakes(desk: Desk) -> None:
    """A job that has not run, and an option's value in the wrong place, are told with the next step."""
    desk.rows(1)
    desk.job()
    never = desk.type("status", "job.yaml")
    assert never.code == 2
    assert "has not been run yet" in never.err
    misplaced = desk.type("status", "--watch", "job.yaml")
    assert misplaced.code == 2
    assert "put --watch after the run" in misplaced.err
