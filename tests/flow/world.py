"""The real flow (admission, gates, crew, feed, worker) over a service in memory and simulated time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qfbatch.breaker import Breaker, BreakerPolicy
from qfbatch.budget import BudgetGuard
from qfbatch.errors import Interrupted
from qfbatch.flow.admission import Admission
from qfbatch.flow.connecting import Connection
from qfbatch.flow.crew import Crew
from qfbatch.flow.feed import Feed, ShardWork
from qfbatch.flow.routing import Route, open_routes, places_at_once
from qfbatch.flow.stopping import Stop
from qfbatch.flow.surroundings import Surroundings
from qfbatch.flow.within_budget import WithinBudget
from qfbatch.flow.worker import work
from qfbatch.job.settings import (
    Budget,
    EndpointSettings,
    InputSettings,
    Job,
    ModelSettings,
    ServiceSettings,
)
from qfbatch.limits.gate import Gate
from qfbatch.limits.quota import Quota
from qfbatch.progress.events import Event
from qfbatch.records import Record, Request, Shard
from qfbatch.retry import RetryPolicy

from .services import Service, Wire
from .simulated_time import simulate

SHARD_ROWS = 100
PATIENT = BreakerPolicy(alike_rows=10**9, failed_attempts=10**9)


def request(
    number: int, *, model: str = "m", estimated_tokens: int = 50, shard: int | None = None
) -> Request:
    """The request of row `number`."""
    return Request(
        row_id=f"r{number}",
        source_file="in.jsonl",
        source_row=number + 1,
        model=model,
        shard=number // SHARD_ROWS if shard is None else shard,
        prompt=str(number),
        parameters={},
        parameters_text="{}",
        estimated_tokens=estimated_tokens,
        columns={},
    )


@dataclass
class Ended:
    """How a simulated run ended."""

    records: list[Record] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    finished: list[tuple[str, int]] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    admission: Admission | None = None
    began: float = 0.0
    ended: float = 0.0

    def observe(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)

    @property
    def duration_s(self) -> float:
        """Simulated seconds from start to end."""
        return self.ended - self.began


def models_of(services: Mapping[str, Service | Mapping[str, Service]]) -> tuple[ModelSettings, ...]:
    """Models with one endpoint each, or several by their names; each endpoint is a service of its own."""
    return tuple(
        ModelSettings(name, f"ep-{name}", service=at(name))
        if not isinstance(service, Mapping)
        else ModelSettings(name, endpoints=tuple(EndpointSettings(end, end, at(end)) for end in service))
        for name, service in services.items()
    )


def at(name: str) -> ServiceSettings:
    """Where the service of this name is."""
    return ServiceSettings(base_url=f"http://{name}", auth="none")


async def run(
    services: Mapping[str, Service | Mapping[str, Service]],
    rows: int,
    *,
    limits: Quota,
    quotas: dict[str, Quota] | None = None,
    models: Sequence[ModelSettings] | None = None,
    shared: dict[str, Quota] | None = None,
    retry: RetryPolicy | None = None,
    breaker: BreakerPolicy = PATIENT,
    budget: Budget | None = None,
    stop_after_s: float | None = None,
    estimated_tokens: int = 50,
    watch: Callable[[Ended], None] | None = None,
    seed: int = 1,
) -> Ended:
    """The runner's own flow, without files: every row through each model, until done or stopped.

    Args:
        services: by model; where a model has several endpoints, by endpoint within it.
        rows: through each model.
        limits: the run's.
        quotas: the models' own, beside it.
        models: their settings, where they are more than `models_of` makes of the services.
        shared: quotas by name.
        retry: as in a job.
        breaker: when it trips.
        budget: as in a job.
        stop_after_s: stops the run.
        estimated_tokens: of every prompt.
        watch: told at the start where to look.
        seed: of all chance.
    """
    loop = asyncio.get_running_loop()
    rng = random.Random(seed)
    ended = Ended(began=loop.time())
    run_quota = Quota(limits.concurrency, limits.qps, limits.rpm, limits.tpm, adaptive=False)
    admission = ended.admission = Admission(Gate(run_quota, loop.time()), loop, rng)
    ended.stop.on_request(admission.close)
    guard, settled = BudgetGuard(budget or Budget()), asyncio.Event()
    ended.stop.on_request(settled.set)
    timer = None
    if stop_after_s is not None:
        timer = loop.call_later(stop_after_s, ended.stop.request, Interrupted("enough."))
    if watch is not None:
        watch(ended)
    job = Job(
        name="world",
        source=Path("world.yaml"),
        input=InputSettings(paths=()),
        service=ServiceSettings(),
        models=tuple(
            replace(model, quota=(quotas or {}).get(model.name, model.quota))
            for model in models or models_of(services)
        ),
        retry=retry or RetryPolicy(),
        limits=limits,
        budget=budget or Budget(),
        output_path=Path("nowhere"),
        quotas=shared or {},
    )
    crews = []
    for route in open_routes(
        job,
        _wires(services),
        admission,
        breaker=lambda _: Breaker(breaker, loop.time()),
        now=loop.time(),
    ):
        name = route.model.name
        feed = Feed(_shards(rows), _loader(name, estimated_tokens), _finisher(ended, name))
        within = WithinBudget(guard, ended.stop, settled) if guard.limited else None
        crews.append(_crew(places_at_once(job, route.model), route, feed, ended, within, rng))
    await asyncio.gather(*crews)
    if timer is not None:
        timer.cancel()
    ended.ended = loop.time()
    return ended


def simulated(
    services: Mapping[str, Service | Mapping[str, Service]] | Service, rows: int, **options: object
) -> Ended:
    """`run` over simulated time."""
    named = services if isinstance(services, Mapping) else {"m": services}
    return simulate(run(named, rows, **options))  # type: ignore[arg-type]  # options are those of `run`


def _wires(services: Mapping[str, Service | Mapping[str, Service]]) -> dict[ServiceSettings, Connection]:
    """A wire to each service in memory."""
    found: dict[ServiceSettings, Connection] = {}
    for name, service in services.items():
        for end, one in (service if isinstance(service, Mapping) else {name: service}).items():
            wire = Wire(one)
            found[at(end)] = Connection(f"http://{end}", wire, wire, wire)
    return found


def _shards(rows: int) -> Iterable[ShardWork]:
    for number, first in enumerate(range(0, rows, SHARD_ROWS)):
        size = min(SHARD_ROWS, rows - first)
        yield ShardWork(Shard(number, "in.jsonl", first + 1, size, first), size)


def _loader(model: str, estimated_tokens: int) -> Callable[[ShardWork], list[Request]]:
    def load(item: ShardWork) -> list[Request]:
        first = item.shard.first_row - 1
        numbers = range(first, first + item.rows)
        return [request(n, model=model, estimated_tokens=estimated_tokens) for n in numbers]

    return load


def _finisher(ended: Ended, model: str) -> Callable[[int], None]:
    return lambda shard: ended.finished.append((model, shard))


async def _crew(  # noqa: PLR0917 - the runner's own list
    size: int, route: Route, feed: Feed, ended: Ended, budget: WithinBudget | None, rng: random.Random
) -> None:
    loop = asyncio.get_running_loop()

    async def work_next() -> bool:
        if ended.stop.requested:
            return False
        row = await feed.take()
        if row is None or ended.stop.requested:
            return False
        if budget is not None and not await budget.may_begin():
            return False
        record = await (work if budget is None else budget.work)(route, row, around)
        if record is None:
            return False
        ended.records.append(record)
        feed.recorded(row)
        return True

    crew = Crew(size, work_next)
    around = Surroundings(
        stop=ended.stop,
        observe=ended.observe,
        now=loop.time,
        clock=loop.time,
        rng=rng,
        on_idle=crew.row_waits,
        on_busy=crew.row_returns,
        on_begun=None if budget is None else budget.begun,
    )
    try:
        await crew.run()
    finally:
        await feed.close()


def outcome_of(records: Sequence[Record]) -> dict[str, tuple[str, str | None, int]]:
    """Status, error and attempts by row: what must not depend on order."""
    return {r.row_id: (str(r.status), r.error_kind, r.attempts) for r in records}
