"""Whatever happens to the rows of a run, each ends as exactly one record or is left for the next run."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qfbatch.limits.quota import Quota
from qfbatch.records import Action, ErrorKind, Failure
from qfbatch.retry import RetryPolicy

from .services import THROTTLED, Answer, ScriptedService, answered
from .world import Ended, outcome_of, simulated

RETRY = Failure(ErrorKind.SERVER, Action.RETRY, "internal error", code=336000)
DROPPED = Failure(ErrorKind.CONNECTION, Action.RETRY, "connection reset")
REFUSED = Failure(ErrorKind.INVALID_REQUEST, Action.ROW, "bad request", code=336001)
STALE = Failure(ErrorKind.CREDENTIALS, Action.REFRESH, "token expired", code=111)
FORBIDDEN = Failure(ErrorKind.PERMISSION, Action.JOB, "no permission", code=6)

before = st.lists(st.sampled_from([RETRY, DROPPED, THROTTLED]), max_size=6)
refreshed = st.booleans()
GOOD = answered()
ends: st.SearchStrategy[Answer] = st.one_of(st.just(GOOD), st.just(REFUSED), st.just(RETRY))


@st.composite
def scripts(draw: st.DrawFn) -> list[Answer]:
    """What one row meets, call by call; the last for ever."""
    met: list[Answer] = [*draw(before)]
    if draw(refreshed):
        met.insert(draw(st.integers(0, len(met))), STALE)
    return [*met, draw(ends)]


# The service is reached once; where it never is, the run stops.
rows = st.lists(scripts(), max_size=30).map(lambda script: [[GOOD], *script])


def run(
    script: list[list[Answer]], concurrency: int, *, adaptive: bool = True
) -> tuple[Ended, ScriptedService]:
    """The run of these rows."""
    service = ScriptedService(lambda prompt: script[int(prompt)], lambda prompt: 0.05 + int(prompt) % 5 / 10)
    retry = RetryPolicy(retry_count=4)
    ended = simulated(service, len(script), limits=Quota(concurrency, adaptive=adaptive), retry=retry)
    assert ended.admission is not None
    assert {0} == {gate.in_flight for gate in ended.admission.statistics().values()}
    assert 0 == ended.admission.waiting
    assert service.most_in_flight <= concurrency
    return ended, service


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=rows, one=st.integers(1, 40), other=st.integers(1, 40))
def test_every_row_ends_once_and_alike_whatever_the_concurrency(
    script: list[list[Answer]], one: int, other: int
) -> None:
    """Rows are neither lost nor doubled, and what becomes of them does not depend on who runs beside them."""
    ended, service = run(script, one)
    assert {f"r{n}" for n in range(len(script))} == {r.row_id for r in ended.records}
    assert len(script) == len(ended.records)
    assert {r.row_id: r.attempts for r in ended.records} == {f"r{n}": c for n, c in service.calls.items()}
    assert [("m", 0)] == ended.finished
    assert outcome_of(ended.records) == outcome_of(run(script, other)[0].records)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    script=rows,
    at=st.integers(0, 29),
    concurrency=st.integers(1, 40),
)
def test_run_that_is_refused_leaves_the_rest(script: list[list[Answer]], at: int, concurrency: int) -> None:
    """A job-level refusal ends the run; every row has its one record or none, and that row has none."""
    script[at % len(script)] = [FORBIDDEN]
    ended, service = run(script, concurrency)
    ids = [record.row_id for record in ended.records]
    assert len(set(ids)) == len(ids)
    assert f"r{at % len(script)}" not in ids
    assert ended.stop.reason is not None
    assert 5 == ended.stop.reason.exit_code
    assert {r.row_id: r.attempts for r in ended.records}.items() <= {
        f"r{n}": c for n, c in service.calls.items()
    }.items()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    script=rows,
    stop_after_s=st.floats(0, 20),
    concurrency=st.integers(1, 40),
)
def test_stop_at_any_moment_releases_who_waits_and_keeps_what_is_answered(
    script: list[list[Answer]], stop_after_s: float, concurrency: int
) -> None:
    """However a run is stopped, it ends as soon as the calls on their way are back, and no answer is lost."""
    service = ScriptedService(lambda prompt: script[int(prompt)], latency_s=0.5)
    ended = simulated(
        service,
        len(script),
        limits=Quota(concurrency),
        retry=RetryPolicy(retry_count=4),
        stop_after_s=stop_after_s,
    )
    assert ended.duration_s <= stop_after_s + 0.5 + 0.001
    good = {f"r{n}" for n, calls in service.calls.items() if script[int(n)][calls - 1 :][:1] == [answered()]}
    assert good <= {r.row_id for r in ended.records}
    assert len({r.row_id for r in ended.records}) == len(ended.records)
