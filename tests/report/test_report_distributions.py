"""The run over time and the spread of durations, against a plain computation over the same records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import BEGAN_US, failed, frame, succeeded

from qfbatch.records import Record
from qfbatch.reporting.distributions import EDGES_S, MAX_BUCKETS
from qfbatch.reporting.figures import Bin, Bucket, Histogram, Timeline
from qfbatch.reporting.summary import summarise

SECOND_US = 1_000_000


def ended(number: int, after_us: int, model: str = "yi-34b", **changes: object) -> Record:
    """A row that started with the run and ended so much later."""
    return succeeded(number, model, started_at=BEGAN_US, finished_at=BEGAN_US + after_us, **changes)


def line(rows: Sequence[Record]) -> Timeline:
    """The rows over time."""
    found = summarise(frame(rows)).timeline
    assert found is not None
    return found


def test_rows_count_where_they_ended() -> None:
    """Each stretch has rows, failures, tokens and waits by model; a row at the very end is in the last."""
    rows = [
        ended(0, 0, wait_s=0.5),
        ended(1, 99_999, wait_s=1.5),
        ended(2, 100_000, "pythia", total_tokens=None),
        failed(3, started_at=BEGAN_US, finished_at=BEGAN_US + 200_000, wait_s=2.0),
    ]
    expected = [
        Bucket("yi-34b", 0.0, rows=2, failed=0, tokens=60, wait_s=2.0, wait_max_s=1.5),
        Bucket("pythia", 0.1, rows=1, failed=0, tokens=0, wait_s=0.0, wait_max_s=0.0),
        Bucket("yi-34b", 0.1, rows=1, failed=1, tokens=0, wait_s=2.0, wait_max_s=2.0),
    ]
    found = line(rows)
    assert (0.1, 2) == (found.width_s, found.count)
    assert expected == list(found.buckets)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=30))
def test_however_long_the_run_its_stretches_are_few(ends: list[int]) -> None:
    """From no time to months: at most so many stretches, none beyond the run, every row in exactly one."""
    rows = [ended(n, after) for n, after in enumerate(ends)]
    found = line(rows)
    expected: defaultdict[int, int] = defaultdict(int)
    width_us = round(found.width_s * SECOND_US)
    for after in ends:
        expected[min(after // width_us, found.count - 1)] += 1
    assert 1 <= found.count <= MAX_BUCKETS
    assert found.count * width_us >= max(ends)
    assert (found.count - 1) * width_us <= max(ends)
    assert dict(expected) == {round(b.start_s / found.width_s): b.rows for b in found.buckets}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.none() | st.floats(0, 20_000) | st.sampled_from(EDGES_S), max_size=30))
def test_every_duration_is_in_the_bin_that_spans_it(durations: list[float | None]) -> None:
    """Bins are whole from the first to the last, an edge belongs to the bin it opens, nothing is lost."""
    rows = [succeeded(n, latency_s=duration) for n, duration in enumerate(durations)]
    known = sorted(duration for duration in durations if duration is not None)
    found = summarise(frame(rows)).latency
    assert bool(known) == bool(found)
    for histogram in found:
        bins = histogram.bins
        assert [sum(b.from_s <= d < (b.to_s or 1e99) for d in known) for b in bins] == [b.rows for b in bins]
        assert len(known) == sum(b.rows for b in bins)
        assert [b.to_s for b in bins[:-1]] == [b.from_s for b in bins[1:]]
        assert min(bins[0].rows, bins[-1].rows) > 0


def test_each_model_has_its_own_spread() -> None:
    """First-token times appear for the models that stream, and for no other."""
    rows = [succeeded(0, time_to_first_token_s=1.0), succeeded(1, time_to_first_token_s=1.7)]
    rows.append(succeeded(0, "pythia"))
    summary = summarise(frame(rows))
    bins = (Bin(1.0, 1.25, 1), Bin(1.25, 1.6, 0), Bin(1.6, 2.0, 1))
    assert (Histogram("yi-34b", bins),) == summary.time_to_first_token
    assert ["pythia", "yi-34b"] == [histogram.model for histogram in summary.latency]


def test_no_rows_have_no_time() -> None:
    """A run without a row has neither stretches nor bins."""
    summary = summarise(frame([]))
    assert (None, (), ()) == (summary.timeline, summary.latency, summary.time_to_first_token)


@pytest.mark.parametrize(
    ("seconds", "width"), [(3, 0.1), (12, 0.1), (12.1, 0.2), (3600, 30.0), (86_400, 900.0), (10**7, 86_400.0)]
)
def test_stretches_are_round(seconds: float, width: float) -> None:
    """People read them: tenths, seconds, minutes, hours, days."""
    assert width == line([ended(0, 0), ended(1, round(seconds * SECOND_US))]).width_s
