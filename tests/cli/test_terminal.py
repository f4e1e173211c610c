"""At a terminal: a bar instead of log lines, and Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import subprocess
import termios
import time
from collections.abc import Callable

import pyte
import pytest

from cli.desk import TIMEOUT_S, Desk


def _at_terminal(
    desk: Desk,
    *arguments: str,
    until: Callable[[], bool] | None = None,
    key: bytes = b"\x03",
    columns: int = 100,
) -> tuple[int, str]:
    """Run a command with a terminal as stdin and stderr; type `key` once `until` holds.

    Returns:
        Exit code and all that the terminal showed.
    """
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, columns))
    with subprocess.Popen(
        desk.command(*arguments),
        cwd=desk.path,
        env={**desk.environment(), "TERM": "xterm", "COLUMNS": str(columns)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - one ioctl, and this process has no threads
    ) as process:
        os.close(slave)
        shown = bytearray()
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            if until is not None and until():
                os.write(master, key)
                until = None
            if not select.select([master], [], [], 0.05)[0]:
                continue
            try:
                shown += os.read(master, 65536)
            except OSError:  # all ends of the terminal are closed
                break
        else:
            process.kill()
        code = process.wait()
    os.close(master)
    return code, shown.decode()


def _take_terminal() -> None:
    """Make stdin the terminal of the new session, so that Ctrl-C becomes SIGINT."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_bar_at_a_terminal(desk: Desk) -> None:
    """At a terminal there is a progress bar, then the report and the last word, and no log lines."""
    desk.rows(40)
    desk.job(endpoint="echo,delay=0.1", limits={"concurrency": 3})
    code, shown = _at_terminal(desk, "run", "job.yaml")
    assert code == 0, shown
    assert "\r" in shown
    assert "/40" in shown
    assert "complete: 40 succeeded, 0 failed; answers are in runs/desk." in shown
    assert not re.search(r"\d\d:\d\d:\d\d run ", shown)
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (80, ["40/40, ", "done", r"\d+ tok/s, .*/~.* CNY, .*in flight"]),
        (200, ["40/40, ", "done", r"\d+ tokens/s, cost .* of about .* CNY, .*in flight.* tokens"]),
    ],
)
@pytest.mark.parametrize("color", [False, True])
def test_the_display_fits_its_terminal(desk: Desk, columns: int, words: list[str], *, color: bool) -> None:
    """On the screen stand one bar and one line of facts, whole; log lines stand above and tear nothing."""
    desk.rows([f"row {n}" + " {{fault: 429 times=1 retry_after=0.3}}" * (n in {9, 24}) for n in range(40)])
    endpoint = desk.server.endpoint("echo,delay=0.1")
    price = {"prompt_per_1k": 1, "completion_per_1k": 2}
    desk.job(limits={"concurrency": 3}, models=[{"name": "m", "endpoint": endpoint, "price": price}])
    if not color:
        desk.environ["NO_COLOR"] = "1"
    code, shown = _at_terminal(desk, "run", "job.yaml", "--retry-failed", columns=columns)
    assert code == 0, shown
    screen = pyte.HistoryScreen(columns, 400)
    stream = pyte.Stream(screen)
    stream.feed(shown)
    lines = [line.rstrip() for line in screen.display]
    bars = [n for n, line in enumerate(lines) if "%|" in line]
    assert len(bars) == 1, lines
    bar, facts = lines[bars[0]], lines[bars[0] + 1]
    assert bar.startswith("desk 100%|")
    for text in words:
        assert re.search(text, f"{bar}\n{facts}")
    assert "m: throttled" in "".join(lines[: bars[0]])
    assert ("\x1b[33m" in shown) is color


@pytest.mark.parametrize("options", [(), ("--no-progress",)])
def test_ctrl_c(desk: Desk, options: tuple[str, ...]) -> None:
    """Ctrl-C lets calls on their way finish and says how to go on; nothing is paid twice."""
    desk.rows(80)
    endpoint = desk.job(endpoint="echo,delay=0.2", limits={"concurrency": 3})
    code, shown = _at_terminal(
        desk, "run", "job.yaml", *options, until=lambda: len(desk.server.calls(endpoint)) >= 6
    )
    assert code == 130, shown
    assert "resume: qfbatch run job.yaml" in shown
    assert "Traceback" not in shown
    assert desk.type("run", "job.yaml", "--limit", "30", "--concurrency", "30").code == 0
    assert set(desk.server.calls(endpoint).values()) == {(1, 1)}


def test_no_color(desk: Desk) -> None:
    """With NO_COLOR a report at a terminal has no escape sequence."""
    desk.rows(2)
    desk.job()
    assert desk.type("run", "job.yaml").code == 0
    desk.environ["NO_COLOR"] = "1"
    code, shown = _at_terminal(desk, "report", "job.yaml")
    assert code == 0
    assert "Complete: 2 of 2 rows have ended." in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "job.yaml", "--fresh"], 0),
        (["report", "job.yaml"], 1),
        (["plan", "job.yaml"], 1),
        (["schema"], 1),
    ],
)
def test_a_reader_that_leaves(desk: Desk, arguments: list[str], code: int) -> None:
    """`… | head` is no error worth a word, and a run still ends as it ended."""
    desk.rows(2)
    desk.job()
    assert desk.type("run", "job.yaml").code == 0
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = subprocess.run(
            desk.command(*arguments),
            cwd=desk.path,
            env=desk.environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert process.returncode == code
    assert not re.search("Broken|failed:|Traceback", process.stderr)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(desk: Desk, closed: str) -> None:
    """A run works where standard streams are closed, as schedulers may leave them."""
    desk.rows(3)
    desk.job()
    line = f"{shlex.join(desk.command('run', 'job.yaml'))} {closed}"
    done = subprocess.run(["sh", "-c", line], cwd=desk.path, env=desk.environment(), timeout=60, check=False)
    assert done.returncode == 0
    assert desk.results()["status"].to_list() == ["succeeded"] * 3
