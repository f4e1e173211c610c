"""From a job's models to their routes: endpoints, the gates on the way to each, and who shares them.

Every call passes the run's gate. Beside it stands one gate for each endpoint of a service, whichever models
ask there: limits, pauses and what is learned are the endpoint's. A model with several endpoints, or with one
that others ask too, has a gate of its own for its own limits. A quota named in the job has one gate for all
who share it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from qfbatch.breaker import Breaker
from qfbatch.credentials import Authorizer
from qfbatch.flow.admission import Admission, Lane, Passage
from qfbatch.flow.connecting import Connection
from qfbatch.job.settings import EndpointSettings, Job, ModelSettings, ServiceSettings
from qfbatch.limits.gate import Gate
from qfbatch.limits.quota import Quota, stricter
from qfbatch.pricing import Price
from qfbatch.records import ErrorKind
from qfbatch.retry import RetryPolicy
from qfbatch.service.dialect import Dialect
from qfbatch.tokens import FIRST_EXPECTED_COMPLETION
from qfbatch.transport import Transport

Place = tuple[ServiceSettings, str]  # an endpoint of a service, whoever asks there
OpenGate = Callable[
    [str, Quota, float], Gate
]  # by a name that the gate has in every process of a run, and now


def own_gate(name: str, quota: Quota, now: float) -> Gate:
    """The gate of a process that shares its limits with nobody."""
    del name
    return Gate(quota, now)


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint, ready to be asked.

    Attributes:
        settings: how it is called.
        price: of its answers; None where the job states none.
        dialect, transport, authorizer: what is said, how it travels, on whose account.
    """

    settings: EndpointSettings
    price: Price | None
    dialect: Dialect
    transport: Transport
    authorizer: Authorizer


@dataclass(slots=True)
class Route:
    """Everything that takes one model's rows to a service and back.

    Attributes:
        model: the model's settings.
        targets: its endpoints, in the order of its lane's doors.
        lane: its limits.
        breaker: stops the run when nothing succeeds.
        retry: how attempts follow each other.
        expected_completion: tokens the next answer will probably have.
        refusals: of the whole job, by endpoint, kind and code: those told already.
    """

    model: ModelSettings
    targets: tuple[Target, ...]
    lane: Lane
    breaker: Breaker
    retry: RetryPolicy
    expected_completion: float = field(default=FIRST_EXPECTED_COMPLETION)
    refusals: set[tuple[str, ErrorKind, int | None]] = field(default_factory=set)


def open_routes(
    job: Job,
    connections: Mapping[ServiceSettings, Connection],
    admission: Admission,
    *,
    breaker: Callable[[ModelSettings], Breaker],
    now: float,
    open_gate: OpenGate = own_gate,
) -> list[Route]:
    """A route for each of the job's models, in their order.

    Args:
        job: the job.
        connections: to each of its services.
        admission: holds the run's own limits; the lanes are opened there.
        breaker: makes a model's.
        now: seconds on the admission's clock.
        open_gate: makes the gates.
    """
    passages = _Passages(job, now, open_gate)
    routes = []
    for model in job.models:
        endpoints = job.endpoints_of(model)
        targets = []
        for endpoint in endpoints:
            found = connections[endpoint.service]
            price = model.price_at(endpoint)
            targets.append(Target(endpoint, price, found.dialect, found.transport, found.authorizer))
        lane = admission.lane(model.name, passages.of(model))
        routes.append(Route(model, tuple(targets), lane, breaker(model), job.retry))
    return routes


def places_at_once(job: Job, model: ModelSettings) -> int:
    """How many calls of a model may be in flight by what the job declares: workers it can keep busy."""
    run = job.limits.concurrency
    endpoints = (endpoint.quota for endpoint in job.endpoints_of(model))
    at_endpoints = sum(run if quota is None else quota.concurrency for quota in endpoints)
    return min(run, at_endpoints, run if model.quota is None else model.quota.concurrency)


class _Passages:
    """Gates by what they limit, each made once."""

    def __init__(self, job: Job, now: float, open_gate: OpenGate) -> None:
        self._job = job
        self._now = now
        self._open_gate = open_gate
        self._asked_by = Counter(
            place for model in job.models for place in {_place(end) for end in job.endpoints_of(model)}
        )
        self._default = Quota(concurrency=job.limits.concurrency, adaptive=job.limits.adaptive)
        self._quotas = {name: open_gate(f"quota {name}", quota, now) for name, quota in job.quotas.items()}
        self._endpoints = {
            place: open_gate(f"endpoint {number} {place[1]}", quota, now)
            for number, (place, quota) in enumerate(self._limits().items())
        }

    def of(self, model: ModelSettings) -> list[Passage]:
        """One passage for each of the model's endpoints."""
        endpoints = self._job.endpoints_of(model)
        own = None
        if not self._alone(endpoints):
            # Only counting: what adapts to a service is the gate of its endpoint.
            quota = replace(model.quota or self._default, adaptive=False)
            own = self._open_gate(f"model {model.name}", quota, self._now)
        return [
            Passage(
                endpoint=self._endpoints[_place(endpoint)],
                quota=None if endpoint.shared_quota is None else self._quotas[endpoint.shared_quota],
                model=own,
                weight=endpoint.weight,
            )
            for endpoint in endpoints
        ]

    def _alone(self, endpoints: tuple[EndpointSettings, ...]) -> bool:
        """Whether these are one endpoint that no other model asks: its limits and the model's are one."""
        return len(endpoints) == 1 and self._asked_by[_place(endpoints[0])] == 1

    def _limits(self) -> dict[Place, Quota]:
        """Each endpoint's limits, the strictest of all that is said of it."""
        limits: dict[Place, Quota] = {}
        for model in self._job.models:
            endpoints = self._job.endpoints_of(model)
            for endpoint in endpoints:
                said = [endpoint.quota or self._default]
                if self._alone(endpoints) and model.quota is not None:
                    said = [model.quota] if endpoint.quota is None else [model.quota, endpoint.quota]
                place = _place(endpoint)
                for quota in said:
                    limits[place] = stricter(limits[place], quota) if place in limits else quota
        return limits


def _place(endpoint: EndpointSettings) -> Place:
    return endpoint.service, endpoint.endpoint
