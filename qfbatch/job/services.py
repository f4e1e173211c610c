"""Which service each model is asked at: a model's and an endpoint's own `service` within the job's.

What a narrower section does not say is as in the one around it; but where it names an api of another kind, it
takes nothing over: neither the address nor the credentials would fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qfbatch.job.settings import ServiceSettings
from qfbatch.job.tree import Loc, mapping, mappings
from qfbatch.service.dialect import Dialect
from qfbatch.service.dialects import dialect_named, is_dialect

_DEFAULT_API = ServiceSettings().api


@dataclass(frozen=True, slots=True)
class StatedService:
    """A service as far as a job's plain data states it.

    Attributes:
        dialect: what it speaks; the default one where the job names none there is.
        values: what is stated, by key.
        locs: where each of these stands.
    """

    dialect: Dialect
    values: dict[str, Any]
    locs: dict[str, Loc]


@dataclass(frozen=True, slots=True)
class StatedPlace:
    """A place where a model is asked.

    Attributes:
        model: the model's position in the list.
        loc: the section that names the endpoint: the model, or one of its `endpoints`.
        section: that section.
        service: where it is.
    """

    model: int
    loc: Loc
    section: dict[str, Any]
    service: StatedService


def places(data: Any) -> Iterator[StatedPlace]:
    """Every place where a model is asked, in the order of the file."""
    for index, model in mappings(data, "models"):
        loc: Loc = ("models", index)
        around = [((), data), (loc, model)]
        if model.get("endpoints") is None:
            yield StatedPlace(index, loc, model, _stated(around))
        for number, endpoint in mappings(model, "endpoints"):
            here = (*loc, "endpoints", number)
            yield StatedPlace(index, here, endpoint, _stated([*around, (here, endpoint)]))


def job_service(data: Any) -> StatedService:
    """The service of the job itself, which models have that name none."""
    return _stated([((), data)])


def takes_over(api: str, around: str) -> bool:
    """Whether a service takes over what the one around it says, its api being of the same kind."""
    return dialect_named(api).access == dialect_named(around).access


def _stated(owners: list[tuple[Loc, Any]]) -> StatedService:
    values: dict[str, Any] = {}
    locs: dict[str, Loc] = {}
    current = _DEFAULT_API
    for loc, owner in owners:
        section = {key: value for key, value in mapping(owner, "service").items() if value is not None}
        api = section.get("api", current)
        api = api if is_dialect(api) else _DEFAULT_API
        if not takes_over(api, current):
            values, locs = {}, {}
        current = api
        values = values | section
        locs = locs | {key: (*loc, "service", key) for key in section}
    return StatedService(dialect_named(current), values, locs)
