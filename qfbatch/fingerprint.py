"""What decides a run's results, field by field: a resume that would mix answers of two jobs is refused by it.

Decides: how a prompt is made, how rows are identified, which columns are carried (every part has the same),
and per model the dialect, endpoint and parameters. Does not decide: limits, retries, timeouts, prices,
budget, credentials, the service's address.

Endpoints listed side by side are the same model by the user's own word. So one may join or leave while
another one stays; only where none is left of those that stood before has the model become another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qfbatch.job.settings import Job

Fingerprint = dict[str, Any]


def fingerprint(job: Job) -> Fingerprint:
    """The job's deciding fields by their dotted path; values as in the job file."""
    fields: Fingerprint = {
        "input.id": job.input.id,
        "input.prompt": job.input.prompt,
        "input.template": job.input.template,
        "input.messages": job.input.messages,
        "input.system": job.input.system,
        "input.columns": None if job.input.columns is None else list(job.input.columns),
    }
    for model in job.models:
        prefix = f"models.{model.name}."
        fields[prefix + "api"] = job.api_of(model)
        fields[prefix + "endpoint"] = _one_or_all({place.endpoint for place in job.endpoints_of(model)})
        fields[prefix + "parameters"] = dict(sorted(model.parameters.items()))
    return fields


def with_earlier(before: Mapping[str, Any], now: Mapping[str, Any]) -> Fingerprint:
    """The fingerprint to keep of a run that goes on: fields of models left out stay, and endpoints that went.

    Args:
        before: as it was kept.
        now: of the job that goes on; where it differs, nothing had been answered yet.
    """
    kept = {**before, **now}
    for name, value in now.items():
        if name in before and _names_endpoints(name):
            earlier, present = _endpoints(before[name]), _endpoints(value)
            kept[name] = _one_or_all(earlier | present if earlier & present else present)
    return kept


def models_in(fields: Mapping[str, Any]) -> set[str]:
    """The models that a fingerprint is of; of one that was kept (`with_earlier`), all that ever were."""
    found = filter(_names_endpoints, fields)
    return {name.removeprefix("models.").removesuffix(".endpoint") for name in found}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, one line each; a model added or left out differs in nothing.

    A field of the input that one side does not have, being of an older qfbatch, was not set there.
    """
    lines = []
    names = before.keys() & now.keys()
    names |= {name for name in before.keys() | now.keys() if name.startswith("input.")}
    for name in names:
        old, new = before.get(name), now.get(name)
        if agree(name, old, new):
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [
                f"{name}.{key}: was {_shown(old.get(key))}, is {_shown(new.get(key))}"
                for key in old.keys() | new.keys()
                if old.get(key) != new.get(key)
            ]
        else:
            lines.append(f"{name}: was {_shown(old)}, is {_shown(new)}")
    return sorted(lines)


def agree(name: str, before: Any, now: Any) -> bool:
    """Whether two values of a field ask the same; endpoints do if they have one in common."""
    return bool(before == now or (_names_endpoints(name) and _endpoints(before) & _endpoints(now)))


def _names_endpoints(name: str) -> bool:
    return name.startswith("models.") and name.endswith(".endpoint")


def _endpoints(value: Any) -> set[str]:
    """The endpoints of a field's value, which is one text or a list."""
    return {value} if isinstance(value, str) else set(value or ())


def _one_or_all(endpoints: set[str]) -> str | list[str]:
    """One endpoint as runs have always kept it, several as a list."""
    return min(endpoints) if len(endpoints) == 1 else sorted(endpoints)


def _shown(value: Any) -> str:
    return "not set" if value is None else repr(value)
