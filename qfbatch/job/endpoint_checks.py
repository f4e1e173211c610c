"""What must hold of the places models are asked at: their names, their dialects, their services."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from qfbatch.job.problems import Findings
from qfbatch.job.services import StatedPlace, StatedService, job_service, places
from qfbatch.job.settings import LOCAL
from qfbatch.job.tree import Loc, mapping, mappings
from qfbatch.job.values import AUTHS, nearest_of
from qfbatch.service.parameters import shown

_BEARER = ("auto", "bearer")


def check_endpoints(findings: Findings, data: Any) -> None:
    """Record what is wrong with where models are asked."""
    known = list(mapping(data, "quotas"))
    for index, model in mappings(data, "models"):
        _check_ways(findings, ("models", index), model)
        _check_quota(findings, ("models", index), model, known)
    for service in [job_service(data), *(place.service for place in places(data))]:
        _check_service(findings, service)
    for _, group in groupby(places(data), key=lambda place: place.model):
        of_model = list(group)
        _check_unique(findings, of_model)
        for place in of_model:
            endpoint = place.section.get("endpoint")
            refused = place.service.dialect.refuse_endpoint(endpoint) if isinstance(endpoint, str) else None
            if refused is not None:
                findings.add((*place.loc, "endpoint"), refused)
            _check_api(findings, place, of_model[0].service)
            _check_quota(findings, place.loc, place.section, known)


def unused_quotas(data: Any) -> list[str]:
    """A warning for each quota that limits nobody."""
    models = [model for _, model in mappings(data, "models")]
    used = {owner.get("quota") for owner in [*models, *(place.section for place in places(data))]}
    return [
        f"quotas.{name} limits nothing: say `quota: {name}` at the models or endpoints that share it"
        for name in mapping(data, "quotas")
        if name not in used
    ]


def _check_ways(findings: Findings, loc: Loc, model: dict[str, Any]) -> None:
    one, several = model.get("endpoint"), model.get("endpoints")
    if one is None and several is None:
        findings.add((*loc, "endpoint"), "is required (or endpoints, where several serve the model)")
    elif one is not None and several is not None:
        message = "give either endpoint or endpoints, not both"
        findings.add((*loc, "endpoints"), message, key=True)


def _check_service(findings: Findings, service: StatedService) -> None:
    dialect, values = service.dialect, service.values
    auths = dialect.access.auths
    auth = values.get("auth", auths[0])
    if isinstance(auth, str) and auth in AUTHS and auth not in auths:
        message = f"must be {', '.join(auths[:-1])} or {auths[-1]} for api {dialect.name}, not {auth}"
        findings.add(service.locs["auth"], message)
    if values.get("key_env") is not None and auth not in _BEARER:
        message = f"names a bearer key, but service.auth is {auth}"
        findings.add(service.locs["key_env"], message, key=True)
    if values.get("base_url") == LOCAL and dialect.access.local_path is None:
        message = f"the embedded server does not speak {dialect.name}; give the address of one that does"
        findings.add(service.locs["base_url"], message)


def _check_unique(findings: Findings, of_model: list[StatedPlace]) -> None:
    first: dict[str, int] = {}
    for number, place in enumerate(of_model):
        key = "endpoint" if place.section.get("name") is None or len(of_model) == 1 else "name"
        name = place.section.get(key)
        if isinstance(name, str) and first.setdefault(name, number) != number:
            message = f"endpoints[{first[name]}] is called the same; give each a name of its own"
            findings.add((*place.loc, key), message)


def _check_api(findings: Findings, place: StatedPlace, first: StatedService) -> None:
    dialect = place.service.dialect
    if dialect is not first.dialect:
        message = (
            f"is {dialect.name}, but the model's first endpoint speaks {first.dialect.name}: all of them are "
            "sent the same parameters; make it a model of its own"
        )
        findings.add((*place.loc, "service", "api"), message)


def _check_quota(findings: Findings, loc: Loc, owner: dict[str, Any], known: list[str]) -> None:
    name = owner.get("quota")
    if isinstance(name, str) and name not in known:
        have = f"quotas has {', '.join(known)}" if known else "the job has no quotas"
        findings.add((*loc, "quota"), f"there is no quota {shown(name)}; {nearest_of(name, known) or have}")
