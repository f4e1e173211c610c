"""A model with several endpoints: weights, limits, and what happens when one of them fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from qfbatch.breaker import BreakerPolicy
from qfbatch.job.settings import ModelSettings
from qfbatch.limits.quota import Quota
from qfbatch.progress.events import EndpointBack, EndpointLeft, Refused, Throttled
from qfbatch.records import Action, ErrorKind, Failure, Status
from qfbatch.retry import RetryPolicy

from .services import (
    THROTTLED,
    Answer,
    FixedWindow,
    QuotaService,
    ScriptedService,
    Service,
    SlidingWindow,
    answered,
)
from .world import Ended, models_of, simulated

DOWN = Failure(ErrorKind.CONNECTION, Action.RETRY, "connection refused")
OVERDUE = Failure(ErrorKind.QUOTA, Action.JOB, "daily limit reached", code=17)
STALE = Failure(ErrorKind.CREDENTIALS, Action.REFRESH, "token expired", code=111)


class Broken(ScriptedService):
    """Answers after a tenth of a second, but fails between two moments (seconds since its first call)."""

    def __init__(self, failure: Failure, begin_s: float = 0.0, end_s: float = float("inf")) -> None:
        super().__init__(lambda _: [answered()])
        self._failure, self._begin_s, self._end_s = failure, begin_s, end_s
        self.failed: list[float] = []
        self.answered: list[float] = []

    async def answer(self, prompt: str) -> Answer:
        """The failure, or what a healthy one says."""
        outcome = await super().answer(prompt)
        at = self.times[-1] - self.times[0]
        failing = self._begin_s <= at < self._end_s
        (self.failed if failing else self.answered).append(at)
        return self._failure if failing else outcome


def endpoints(
    services: Mapping[str, Service], **settings: Mapping[str, object]
) -> tuple[dict[str, Mapping[str, Service]], tuple[ModelSettings, ...]]:
    """One model `m` with these endpoints; settings of each by their field."""
    (model,) = models_of({"m": services})
    changed = [replace(end, **settings.get(end.name, {})) for end in model.endpoints]  # type: ignore[arg-type]
    return {"m": services}, (replace(model, endpoints=tuple(changed)),)


def shares(ended: Ended) -> dict[str, int]:
    """Rows answered, by endpoint."""
    return dict(Counter(r.endpoint for r in ended.records if r.status is Status.SUCCEEDED))


def told(ended: Ended) -> list[tuple[str, str]]:
    """Who left the rotation and who came back, in order."""
    known = {EndpointLeft: "left", EndpointBack: "back"}
    return [(known[type(e)], e.endpoint) for e in ended.events if isinstance(e, EndpointLeft | EndpointBack)]


@pytest.mark.parametrize("concurrency", [1, 2, 16])
def test_weights_divide_the_calls_of_equally_fast_endpoints(concurrency: int) -> None:
    """Three endpoints of one speed get 5, 3 and 2 tenths of the rows, however many calls go at once."""
    services, models = endpoints(
        {name: ScriptedService(lambda _: [answered()]) for name in "abc"},
        a={"weight": 5.0},
        b={"weight": 3.0},
        c={"weight": 2.0},
    )
    ended = simulated(services, 1000, limits=Quota(concurrency), models=models)
    assert {"a": 500, "b": 300, "c": 200} == {
        name: pytest.approx(rows, abs=20) for name, rows in shares(ended).items()
    }


def test_a_slow_endpoint_gets_fewer_calls_and_holds_no_more_than_its_share() -> None:
    """An endpoint ten times as slow gets a tenth of the calls, and half of the places at most."""
    slow = ScriptedService(lambda _: [answered()], latency_s=1.0)
    services, models = endpoints({"fast": ScriptedService(lambda _: [answered()]), "slow": slow})
    ended = simulated(services, 1100, limits=Quota(16), models=models)
    assert {"fast": 1000, "slow": 100} == {
        name: pytest.approx(rows, rel=0.15) for name, rows in shares(ended).items()
    }
    assert slow.most_in_flight <= 9


def test_an_endpoint_that_hangs_does_not_take_the_places_of_the_others() -> None:
    """Where calls hang until they time out, the other endpoint keeps its half of the places."""
    hangs = ScriptedService(lambda _: [DOWN], latency_s=60.0)
    services, models = endpoints({"good": ScriptedService(lambda _: [answered()]), "hangs": hangs})
    ended = simulated(services, 2000, limits=Quota(16), models=models)
    assert {Status.SUCCEEDED} == {r.status for r in ended.records}
    assert hangs.most_in_flight <= 8
    assert ended.duration_s < 130.0


@pytest.mark.parametrize("declared", [True, False])
def test_limits_of_each_endpoint_are_used_side_by_side(declared: bool) -> None:  # noqa: FBT001 - a parameter
    """Ten and five calls a second at two endpoints give nearly fifteen, and no window is overrun."""
    services = {
        "ten": QuotaService(requests=(SlidingWindow(10, 1.0),)),
        "five": QuotaService(requests=(SlidingWindow(5, 1.0),)),
    }
    own = {"ten": {"quota": Quota(64, qps=10)}, "five": {"quota": Quota(64, qps=5)}} if declared else {}
    named, models = endpoints(services, **own)
    ended = simulated(named, 10_000, limits=Quota(64), models=models, stop_after_s=120.0)
    used = len(services["ten"].accepted) / 1200, len(services["five"].accepted) / 600
    refused = sum(len(service.refused) for service in services.values())
    assert min(used) > (0.97 if declared else 0.9)
    # Undeclared, the first calls all start at once: that is how the limits are found.
    assert refused <= (0 if declared else 64 + 0.01 * len(ended.records))


def test_a_model_with_several_endpoints_keeps_its_own_limit_and_the_runs() -> None:
    """The model's limit holds over its endpoints together, and the run's over all models."""
    window = FixedWindow(3, 1.0)
    account = FixedWindow(8, 1.0)
    several = {name: QuotaService(requests=(window, account)) for name in "ab"}
    other = QuotaService(requests=(account,))
    (model,) = models_of({"m": several})
    models = (replace(model, quota=Quota(16, qps=3)), *models_of({"other": other}))
    ended = simulated(
        {"m": several, "other": other}, 5000, limits=Quota(16, qps=8), models=models, stop_after_s=120.0
    )
    assert [] == [at for service in (*several.values(), other) for at in service.refused]
    assert 8 * 120 == pytest.approx(len(ended.records), rel=0.03)
    calls = sum(len(service.accepted) for service in several.values())
    assert 3 * 120 == pytest.approx(calls, rel=0.15)


@pytest.mark.parametrize("learned", [False, True])
def test_a_shared_quota_is_kept_by_all_who_share_it(learned: bool) -> None:  # noqa: FBT001 - a parameter
    """A model's two endpoints and another model use one account's quota up together, declared or learned."""
    account = SlidingWindow(600, 60.0)
    several = {name: QuotaService(requests=(account,)) for name in "ab"}
    other = QuotaService(requests=(account,))
    (model,) = models_of({"m": several})
    (single,) = models_of({"other": other})
    ends = tuple(replace(end, shared_quota="account") for end in model.endpoints)
    models = (replace(model, endpoints=ends), replace(single, shared_quota="account"))
    ended = simulated(
        {"m": several, "other": other},
        20_000,
        limits=Quota(32),
        models=models,
        shared={"account": Quota(32, rpm=None if learned else 600.0)},
        stop_after_s=300.0,
    )
    refused = sum(len(service.refused) for service in (*several.values(), other))
    assert 3000 == pytest.approx(len(ended.records), rel=0.05 if learned else 0.025)
    assert refused <= (0.02 * 3000 if learned else 0)


def test_a_refusal_by_rate_pauses_all_who_share_the_quota() -> None:
    """While an account is throttled, neither the endpoint refused nor the others that share it are asked."""
    refusal = Failure(THROTTLED.kind, THROTTLED.action, THROTTLED.message, code=18, retry_after_s=10.0)
    first = ScriptedService(lambda _: [refusal, answered()])
    second = ScriptedService(lambda _: [answered()])
    single = models_of({"one": first, "two": second})
    models = tuple(replace(model, shared_quota="account") for model in single)
    ended = simulated(
        {"one": first, "two": second}, 40, limits=Quota(1), models=models, shared={"account": Quota(1)}
    )
    (pause,) = [e for e in ended.events if isinstance(e, Throttled)][:1]
    resumed = first.times[1]
    assert [] == [at for at in second.times if first.times[0] + 0.2 < at < first.times[0] + pause.pause_s]
    assert resumed >= first.times[0] + 10.0


def test_models_that_ask_one_endpoint_share_its_pause() -> None:
    """Two models of one endpoint pause together, without a word in the job."""
    refusal = Failure(THROTTLED.kind, THROTTLED.action, THROTTLED.message, code=18, retry_after_s=10.0)
    scripts = iter(list[list[Answer]]([[refusal]]))
    service = ScriptedService(lambda _: next(scripts, [answered()]))
    one = models_of({"m": service})[0]
    ended = simulated({"m": service}, 10, limits=Quota(1), models=(one, replace(one, name="n")))
    assert (20, 1) == (len(ended.records), sum(isinstance(e, Throttled) for e in ended.events))
    assert service.times[1] - service.times[0] >= 10.0


def test_a_throttled_endpoint_is_passed_over_while_another_has_room() -> None:
    """Rows go where there is room at once: an endpoint that only throttles costs no row its time."""
    throttles = ScriptedService(lambda _: [THROTTLED])
    services, models = endpoints({"good": ScriptedService(lambda _: [answered()]), "busy": throttles})
    ended = simulated(services, 1000, limits=Quota(8), models=models, retry=RetryPolicy(retry_count=1))
    assert {"good": 1000} == shares(ended)
    assert 1000 * 0.1 / 8 == pytest.approx(ended.duration_s, rel=0.1)
    assert len(throttles.times) < 16


@pytest.mark.parametrize("refusal", [OVERDUE, STALE])
def test_an_endpoint_that_refuses_the_job_leaves_and_its_rows_go_elsewhere(refusal: Failure) -> None:
    """One refusal of the whole job takes its endpoint out, once, and costs no row an attempt."""
    refuses = ScriptedService(lambda _: [refusal])
    services, models = endpoints({"good": ScriptedService(lambda _: [answered()]), "bad": refuses})
    ended = simulated(services, 200, limits=Quota(8), models=models, retry=RetryPolicy(retry_count=1))
    assert ({"good": 200}, [("left", "bad")]) == (shares(ended), told(ended))
    assert not ended.stop.requested
    assert [] == [e for e in ended.events if isinstance(e, Refused)]
    (left,) = [e for e in ended.events if isinstance(e, EndpointLeft)]
    assert (refusal.code, None, 1) == (left.code, left.again_in_s, left.left)
    assert len(refuses.times) <= 2 * 8


def test_the_run_stops_when_no_endpoint_is_left() -> None:
    """When the last endpoint refuses the job too, the run ends with exit code 5 and says that all did."""
    services, models = endpoints(
        {"a": ScriptedService(lambda _: [OVERDUE]), "b": Broken(OVERDUE, begin_s=1.0)}
    )
    ended = simulated(services, 2000, limits=Quota(4), models=models)
    assert ended.stop.reason is not None
    assert 5 == ended.stop.reason.exit_code
    assert "all 2 endpoints" in ended.stop.reason.message
    assert {Status.SUCCEEDED} == {r.status for r in ended.records}
    assert [("left", "a"), ("left", "b")] == told(ended)


def test_a_row_that_failed_somewhere_is_retried_elsewhere() -> None:
    """The attempt after a failed one goes to another endpoint."""
    once = Failure(ErrorKind.SERVER, Action.RETRY, "internal error", code=336000)
    services, models = endpoints(
        {
            "odd": ScriptedService(lambda p: [once if int(p) % 7 == 0 else answered()]),
            "good": Broken(DOWN, 1e9),
        }
    )
    ended = simulated(services, 200, limits=Quota(4), models=models)
    again = {r.endpoint for r in ended.records if r.attempts > 1}
    assert ({"good"}, {Status.SUCCEEDED}) == (again, {r.status for r in ended.records})
    assert [] == told(ended)


def test_an_endpoint_that_is_down_is_probed_and_comes_back() -> None:
    """An endpoint down for half a minute costs a few calls, leaves once, and comes back to its half."""
    weak = Broken(DOWN, begin_s=10.0, end_s=40.0)
    services, models = endpoints({"weak": weak, "good": ScriptedService(lambda _: [answered()])})
    ended = simulated(services, 8_000, limits=Quota(8), models=models)
    assert {Status.SUCCEEDED} == {r.status for r in ended.records}
    assert [("left", "weak"), ("back", "weak")] == told(ended)
    assert len(weak.failed) <= 5 + 8 + 3
    back = min(at for at in weak.answered if at > 40.0)
    assert back < 40.0 + 25.0
    assert 40 * 10 == pytest.approx(sum(back + 10 <= at < back + 20 for at in weak.answered), rel=0.1)


def test_a_probe_costs_its_row_no_attempt() -> None:
    """The row whose call finds a resting endpoint still down is asked elsewhere, with one attempt too."""
    dead = Broken(DOWN)
    services, models = endpoints({"dead": dead, "good": ScriptedService(lambda _: [answered()])})
    once = RetryPolicy(retry_count=1)
    ended = simulated(services, 4_000, limits=Quota(4), models=models, retry=once)
    failed = [record for record in ended.records if record.status is Status.FAILED]
    probes = len(dead.failed) - len(failed)
    # Before it left, five calls in a row and those beside them failed; every later one was a probe.
    assert len(failed) <= 5 + 4
    assert 3 <= probes <= 8
    lent = [record for record in ended.records if record.attempts == 2]
    assert (probes, {("good", Status.SUCCEEDED)}) == (len(lent), {(r.endpoint, r.status) for r in lent})


def test_a_run_whose_endpoints_are_all_down_stops_like_one_with_a_single_endpoint() -> None:
    """With nothing to fall back on all are asked on, and the breaker ends the run with exit code 5."""
    services, models = endpoints({name: ScriptedService(lambda _: [DOWN]) for name in "ab"})
    ended = simulated(services, 1000, limits=Quota(8), models=models, breaker=BreakerPolicy())
    assert ended.stop.reason is not None
    assert (5, []) == (ended.stop.reason.exit_code, ended.records)
    assert ended.duration_s < 60.0


def test_one_unreachable_endpoint_ends_no_run_before_the_other_has_spoken() -> None:
    """Rows out of attempts at a dead endpoint do not end the run while another is still to answer."""
    services, models = endpoints(
        {"dead": ScriptedService(lambda _: [DOWN], latency_s=0.01), "slow": Broken(DOWN, 1e9)}
    )
    ended = simulated(
        services,
        100,
        limits=Quota(4),
        models=models,
        breaker=BreakerPolicy(),
        retry=RetryPolicy(retry_count=1),
    )
    assert not ended.stop.requested
    assert 100 == len(ended.records)
    assert sum(r.status is Status.FAILED for r in ended.records) <= 8


def test_rows_alike_refused_everywhere_still_stop_the_run() -> None:
    """A request that is wrong in every row is no endpoint's fault, and stops the run as always."""
    wrong = Failure(ErrorKind.INVALID_REQUEST, Action.ROW, "bad request", code=336003)
    services, models = endpoints({name: ScriptedService(lambda _: [wrong]) for name in "ab"})
    ended = simulated(services, 1000, limits=Quota(4), models=models, breaker=BreakerPolicy())
    assert (True, []) == (ended.stop.requested, told(ended))
    assert 100 == pytest.approx(len(ended.records), abs=4)


def test_statistics_name_what_binds_all_endpoints() -> None:
    """A lane of several endpoints adds their limits up and is bound only where all of them are."""
    services, models = endpoints(
        {name: ScriptedService(lambda _: [answered()], latency_s=5.0) for name in "ab"},
        a={"quota": Quota(2, qps=4)},
        b={"quota": Quota(3, rpm=60)},
    )
    seen = []

    def watch(ended: Ended) -> None:
        def look() -> None:
            assert ended.admission is not None
            seen.append(ended.admission.statistics()["m"])

        asyncio.get_running_loop().call_later(4.5, look)

    simulated(services, 50, limits=Quota(16), models=models, watch=watch)
    assert (5, 5, "concurrency") == (seen[0].in_flight, seen[0].concurrency, seen[0].binding)
    assert {"qps/rpm": pytest.approx(5 * 0.98)} == seen[0].limits


def test_two_names_for_one_endpoint_are_one_endpoint() -> None:
    """An endpoint listed by two models with limits of its own keeps the lower of each."""
    service = QuotaService(requests=(SlidingWindow(5, 1.0),))
    services: dict[str, Service] = {
        "e": service,
        "spare": ScriptedService(lambda _: [answered()], latency_s=5.0),
    }
    (model,) = models_of({"m": services})
    end, spare = model.endpoints[0], replace(model.endpoints[1], quota=Quota(8))
    models = [
        ModelSettings(name, endpoints=(replace(end, quota=Quota(64, qps=qps)), spare))
        for name, qps in (("one", 5.0), ("two", 9.0))
    ]
    simulated({"m": services}, 1000, limits=Quota(64), models=models, stop_after_s=60.0)
    assert [] == service.refused
    assert 5 * 60 == pytest.approx(len(service.accepted), rel=0.05)
