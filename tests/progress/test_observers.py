"""Log lines, the bar and the event file: what they say, and that they never say a secret."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from qfbatch.limits.gate import Gate
from qfbatch.limits.quota import Quota
from qfbatch.outlook import Outlook
from qfbatch.progress.bar import ProgressBar
from qfbatch.progress.eventfile import EventFile
from qfbatch.progress.events import (
    AttemptFailed,
    Event,
    Observer,
    ObserverFailed,
    Pulse,
    RowsCommitted,
    RunEnded,
    RunStarted,
    ShardClosed,
    Stopping,
    Surveyed,
    Throttled,
    TokenRenewed,
    to_all,
)
from qfbatch.progress.log import LogLines
from qfbatch.progress.survey import SurveyProgress
from qfbatch.records import ErrorKind, Record, Status
from qfbatch.tally import Standing

START = 1_790_000_000.0
FACTS = (
    "1 failed, 64 tokens/s, cost 10.00 of about 40.00 CNY, limit tpm, 0 in flight, 3 waiting, 2 throttled, "
    "1 retried, 800 tokens"
)
MORE = " (and 1 more since the last such line)"


class Clock:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


def record(number: int, **fields: Any) -> Record:
    """A succeeded record, unless told otherwise."""
    known: dict[str, Any] = {
        "row_id": f"r{number}", "model": "m", "endpoint": "e", "shard": 0, "source_file": "f",
        "source_row": number + 1, "prompt": "p", "status": Status.SUCCEEDED, "attempts": 1,
        "started_at": 0, "finished_at": 0, "parameters": "{}", "total_tokens": 40, "cost": 0.5,
        "currency": "CNY",
    }  # fmt: skip
    return Record(**(known | fields))


FAILED = record(
    9, status=Status.FAILED, error_kind=ErrorKind.TOO_LONG, error_code=336103, error_message="too long",
    total_tokens=None, cost=None,
)  # fmt: skip
STILL = Gate(Quota(4), 0.0).statistics(0.0)


def pulse(committed: int, *, at_s: float, failed: int = 0) -> Pulse:
    """How things stand `at_s` seconds after the start, 20 of 100 rows having been done before."""
    standing = Standing(
        succeeded=20 + committed - failed, failed=failed, left=80 - committed, total_tokens=40 * committed,
        cost={"CNY": 0.5 * committed},
    )  # fmt: skip
    rows_per_s = committed / at_s
    outlook = Outlook(
        rows_per_s=rows_per_s, tokens_per_s=40 * rows_per_s, eta_s=(80 - committed) / rows_per_s,
        binding="tpm", decides="tpm", cost={"CNY": 40.0},
    )  # fmt: skip
    return Pulse(
        lanes={"": STILL, "m": STILL},
        waiting=3,
        models={"m": standing},
        outlook=outlook,
        throttled=2,
        retried=1,
    )


PULSE = pulse(10, at_s=5)
STORY: list[tuple[float, Event]] = [
    (0, Surveyed(10, 100)),
    (0, RunStarted("runs/eval", rows=100, done=20, notes=("a torn tail was cut off",))),
    (1, RowsCommitted([record(n) for n in range(10)])),
    (2, AttemptFailed("m", "r3", 1, ErrorKind.SERVER, 336000, "internal error")),
    (3, AttemptFailed("m", "r4", 1, ErrorKind.SERVER, 336000, "internal error")),
    (4, Throttled("m", "r5", 336501, "rpm limit", 1.5)),
    (4, Throttled("m", "r6", 336501, "rpm limit", 0.0)),
    (5, PULSE),
    (6, TokenRenewed()),
    (12, RowsCommitted([record(n) for n in range(10, 19)] + [FAILED])),
    (12.5, pulse(20, at_s=12.5, failed=1)),
    (13, AttemptFailed("m", "r7", 2, ErrorKind.TIMEOUT, None, "no answer in time")),
    (14, ShardClosed("m", 0, 20)),
    (15, Stopping("interrupted by SIGINT", in_flight=4)),
    (16, RunEnded(exit_code=130, succeeded=39, failed=1, left=60)),
]


def tell(observer: Observer, clock: Clock) -> None:
    """The whole story, at its times."""
    for at, event in STORY:
        clock.now = START + at
        observer(event)


def test_log_lines_as_text() -> None:
    """What is worth knowing is one line each; refusals of a known episode and more troubles are held back."""
    clock, stream = Clock(), io.StringIO()
    tell(LogLines(clock, stream=stream), clock)
    assert [
        "a torn tail was cut off",
        "run runs/eval: 100 rows, 20 done before",
        "m: row r3: attempt 1 failed: internal error; will be retried",
        "m: throttled (rpm limit); pausing 1.5 s",
        "the access token was renewed",
        f"40/100 rows, 1.6 rows/s, {FACTS}, about 0:00:38 left",
        "m: row r7: attempt 2 failed: no answer in time; will be retried" + MORE,
        "stopping, 4 calls on their way: interrupted by SIGINT",
    ] == [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]


def test_log_lines_as_json() -> None:
    """As JSON each line is an object with time, level and message; one of progress holds the figures, too."""
    clock, stream = Clock(), io.StringIO()
    tell(LogLines(clock, stream=stream, as_json=True), clock)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert ["warning", "info", "warning", "warning", "info", "info", "warning", "warning"] == [
        line["level"] for line in lines
    ]
    assert [START, START] == [datetime.fromisoformat(line["time"]).timestamp() for line in lines[:2]]
    [progress] = [line for line in lines if "progress" in line]
    figures = progress["progress"]
    assert (100, 40, 60) == (figures["rows"], figures["done"], figures["models"]["m"]["left"])
    assert (1.6, "tpm") == (figures["outlook"]["rows_per_s"], figures["outlook"]["binding"])


def test_quiet_log_has_no_progress() -> None:
    """Only what happened is said."""
    clock, stream = Clock(), io.StringIO()
    tell(LogLines(clock, stream=stream, progress=False), clock)
    assert "rows/s" not in stream.getvalue()


def test_bar_shows_totals() -> None:
    """The bar ends with all rows, rates, cost, failures, refusals, what binds and what is in flight."""
    clock, stream = Clock(), io.StringIO()
    tell(ProgressBar(stream, {"NO_COLOR": "1"}, clock), clock)
    shown = stream.getvalue()
    for text in [
        "note: a torn tail was cut off",
        "m: throttled (rpm limit); pausing 1.5 s",
        "stopping, 4 calls on their way: interrupted by SIGINT",
        "eval  40%|",
        "40/100, 1.6 rows/s, 0:00:38 left",
        "1 failed, 64 tok/s, 10.00/~40.00 CNY, limit tpm, 0 in flight, 3 waiting",
    ]:
        assert text in shown
    assert "\x1b[33m" not in shown


def test_events_before_the_start_or_after_the_end_are_ignored_by_the_bar() -> None:
    """No bar, no output."""
    stream = io.StringIO()
    bar = ProgressBar(stream)
    bar(PULSE)
    bar(TokenRenewed())
    bar(RunEnded(0, 1, 0, 0))
    assert "" == stream.getvalue()


def test_event_file_lines_parse(tmp_path: Path) -> None:
    """Every line is an object with its time and event; rows are counted, failed ones named."""
    clock, path = Clock(), tmp_path / "events.jsonl"
    tell(EventFile(path, clock), clock)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = [line["event"] for line in lines]
    told = [type(event).__name__ for _, event in STORY if not isinstance(event, Pulse | Surveyed)]
    assert Counter(told) == Counter(names)
    assert ("RunStarted", "RunEnded") == (names[0], names[-1])
    assert {START + at for at, _ in STORY} >= {
        datetime.fromisoformat(line["time"]).timestamp() for line in lines
    }
    committed = [line for line in lines if line["event"] == "RowsCommitted"]
    assert (10, {"m": {"succeeded": 10}}, []) == tuple(
        committed[0][key] for key in ("rows", "models", "failures")
    )
    assert [
        {
            "model": "m",
            "row_id": "r9",
            "kind": "too_long",
            "code": 336103,
            "message": "too long",
            "attempts": 1,
        }
    ] == committed[1]["failures"]


def test_a_torn_event_is_cut_off(tmp_path: Path) -> None:
    """What a full disk or a power cut left of a line does not swallow the next session's first one."""
    path = tmp_path / "events.jsonl"
    for torn in (b'{"event":"RunEn', b'{"event":"whole"}\n{"event":"RunEn', b'{"event":"whole"}\n', b""):
        path.write_bytes(torn)
        EventFile(path, Clock())(RunEnded(0, 1, 0, left=0))
        whole, rest = torn.count(b"\n"), path.read_bytes().splitlines()
        assert [*["whole"] * whole, "RunEnded"] == [json.loads(line)["event"] for line in rest]


def test_event_file_grows_with_time_not_with_rows(tmp_path: Path) -> None:
    """A thousand commits, retries and failed rows in a second are a few lines, and none goes uncounted."""
    clock, path = Clock(), tmp_path / "events.jsonl"
    file = EventFile(path, clock)
    for number in range(1000):
        clock.now = START + number / 1000
        file(RowsCommitted([record(number), FAILED]))
        file(AttemptFailed("m", f"r{number}", 1, ErrorKind.SERVER, 336000, "internal error", 0.5))
    clock.now = START + 2
    file(RunEnded(0, 1000, 1000, 0))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert 10 + 1 + 2 + 1 == len(lines)
    [committed] = [line for line in lines if line["event"] == "RowsCommitted"]
    assert (2000, 1000, 10) == (committed["rows"], committed["groups"], len(committed["failures"]))
    more = {
        (line["of"], line["kind"], line["code"], line["count"]) for line in lines if line["event"] == "More"
    }
    assert {("AttemptFailed", "server", 336000, 990), ("RowFailed", "too_long", 336103, 990)} == more


def test_event_file_tells_once_a_minute_how_the_run_stands(tmp_path: Path) -> None:
    """Pulses come twice a second; one a minute is kept."""
    clock, path = Clock(), tmp_path / "events.jsonl"
    file = EventFile(path, clock)
    file(RunStarted("r", 100, 20))
    for half_second in range(1, 301):
        clock.now = START + half_second / 2
        file(PULSE)
    file(RunEnded(0, 1, 0, 0))
    names = [json.loads(line)["event"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert ["RunStarted", "Pulse", "Pulse", "RunEnded"] == names


def test_event_file_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    """Results matter, this file does not."""
    clock = Clock()
    tell(EventFile(tmp_path / "no such folder" / "events.jsonl", clock), clock)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(("total", "shown"), [(1000, False), (10**9, True)])
def test_survey_bar_is_shown_for_large_inputs_only(total: int, shown: bool) -> None:  # noqa: FBT001 - a parameter
    """Small inputs are read before anybody could look."""
    stream = io.StringIO()
    bar = SurveyProgress(stream)
    bar(Surveyed(total // 2, total))
    bar(Surveyed(total, total))
    bar(RunEnded(0, 0, 0, 0))
    assert shown == ("reading the input" in stream.getvalue())


def test_observers_see_answers_only_in_records_and_no_request() -> None:
    """No event has a field for a URL, a header or a call: what is not told cannot be shown."""
    fields = {name for _, event in STORY for name in event.__struct_fields__}
    assert set() == fields & {"url", "headers", "body", "call", "query", "token", "key", "secret", "environ"}


def test_to_all_passes_every_event_to_each() -> None:
    """One observer for many."""
    one, two = list[Event](), list[Event]()

    def first(event: Event) -> None:
        one.append(event)

    def second(event: Event) -> None:
        two.append(event)

    tell(to_all([first, second]), Clock())
    assert one == two == [event for _, event in STORY]


def test_an_observer_that_fails_is_left_out_and_told_of() -> None:
    """Watching a run never ends it: whoever raises is called once, and the others learn of it."""
    seen = list[Event]()
    called = 0

    def broken(event: Event) -> None:
        nonlocal called
        called += 1
        raise ValueError("no such dashboard")

    told = to_all([broken, seen.append])
    told(TokenRenewed())
    told(PULSE)
    name = "test_an_observer_that_fails_is_left_out_and_told_of.<locals>.broken"
    assert 1 == called
    assert [ObserverFailed(name, "ValueError: no such dashboard"), TokenRenewed(), PULSE] == seen


def test_the_only_observer_that_fails_is_warned_of() -> None:
    """Where nobody else watches, a failure of the observer is a warning."""

    def broken(event: Event) -> None:
        raise ValueError("no")

    with pytest.warns(UserWarning, match="broken failed: ValueError: no"):
        to_all([broken])(TokenRenewed())
