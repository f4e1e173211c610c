"""The validated document → frozen settings: sections filled in, parameters merged, units in the names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qfbatch.job.document import (
    BudgetSection,
    EndpointSection,
    InputSection,
    JobDocument,
    LimitsSection,
    ModelSection,
    OutputSection,
    PriceSection,
    QuotaSection,
    RetrySection,
    ServiceSection,
)
from qfbatch.job.scorer_section import ScorerSection
from qfbatch.job.services import takes_over
from qfbatch.job.settings import (
    BUILT_IN_SCORERS,
    DEFAULT_NORMALISATION,
    DEFAULT_REFERENCE,
    Budget,
    EndpointSettings,
    InputSettings,
    Job,
    ModelSettings,
    ScorerSettings,
    ServiceSettings,
)
from qfbatch.limits.quota import Quota
from qfbatch.pricing import Price
from qfbatch.retry import RetryPolicy
from qfbatch.service.dialect import Access
from qfbatch.service.dialects import dialect_named
from qfbatch.service.parameters import body_fields
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import parse_path

RUNS = Path("runs")


def freeze(
    document: JobDocument,
    *,
    source: Path,
    addresses: Mapping[Access, str],
    environment: Sequence[str],
    warnings: Sequence[str],
    access: StorageAccess,
) -> Job:
    """The job's settings.

    Args:
        document: without any problem.
        source: the job file.
        addresses: of services that state no base_url: from the environment, or the default.
        environment: names of the variables that were read.
        warnings: what is allowed but probably not meant.
        access: to object storage.
    """
    limits = document.limits or LimitsSection()
    budget = document.budget or BudgetSection()
    output = (document.output or OutputSection()).path
    if output is not None:
        output = os.path.expanduser(output)  # noqa: PTH111 - as input.path; Path fails at an unknown ~user
    default = ServiceSettings()
    default = replace(default, base_url=_address(default.api, addresses))
    service = _service(document.service, default, addresses)
    return Job(
        name=document.name,
        source=source,
        input=_input(document.input, access),
        service=service,
        models=tuple(_model(model, document, limits, service, addresses) for model in document.models),
        retry=_retry(document.retry or RetrySection()),
        limits=_quota(limits),
        budget=Budget(max_cost=budget.max_cost, max_total_tokens=budget.max_total_tokens),
        output_path=RUNS / document.name if output is None else parse_path(output),
        evaluation=tuple(_scorer(section) for section in document.evaluation or ()),
        environment=tuple(sorted(environment)),
        warnings=tuple(warnings),
        access=access,
        quotas={name: _shared(quota, limits) for name, quota in (document.quotas or {}).items()},
    )


def _input(section: InputSection, access: StorageAccess) -> InputSettings:
    return InputSettings(
        paths=tuple(section.path),
        id=section.id,
        prompt=section.prompt,
        template=section.template,
        messages=section.messages,
        system=section.system,
        columns=None if section.columns is None else tuple(section.columns),
        shard_rows=section.shard_rows,
        access=access,
    )


def _service(
    section: ServiceSection | None, around: ServiceSettings, addresses: Mapping[Access, str]
) -> ServiceSettings:
    """A service; what its section does not say is as `services.takes_over` tells."""
    given = {} if section is None else section.model_dump(exclude_unset=True, exclude_none=True)
    api = given.get("api", around.api)
    if not takes_over(api, around.api):
        around = ServiceSettings(api=api, base_url=_address(api, addresses))
    return replace(around, **given)


def _address(api: str, addresses: Mapping[Access, str]) -> str:
    access = dialect_named(api).access
    return addresses.get(access, access.base_url)


def _model(
    section: ModelSection,
    document: JobDocument,
    run: LimitsSection,
    service: ServiceSettings,
    addresses: Mapping[Access, str],
) -> ModelSettings:
    own_service = None if section.service is None else _service(section.service, service, addresses)
    endpoints = tuple(
        _endpoint(endpoint, section, run, _service(endpoint.service, own_service or service, addresses))
        for endpoint in section.endpoints or ()
    )
    return ModelSettings(
        name=section.name,
        endpoint=section.endpoint or "",
        parameters=body_fields(document.parameters or {}, section.parameters or {}),
        quota=None if section.limits is None else _quota(_within(section.limits, run)),
        price=None if section.price is None else _price(section.price),
        service=own_service,
        shared_quota=section.quota,
        endpoints=endpoints,
    )


def _endpoint(
    section: EndpointSection, model: ModelSection, run: LimitsSection, service: ServiceSettings
) -> EndpointSettings:
    around = run if model.limits is None else _within(model.limits, run)
    return EndpointSettings(
        name=section.name or section.endpoint,
        endpoint=section.endpoint,
        service=service,
        weight=section.weight,
        quota=None if section.limits is None else _quota(_within(section.limits, around)),
        shared_quota=section.quota or model.quota,
        price=None if section.price is None else _price(section.price),
    )


def _within(section: LimitsSection, around: LimitsSection) -> LimitsSection:
    """Limits beside those around them: a qps of its own must not bring a concurrency of its own."""
    given = section.model_fields_set
    inherited = {name: getattr(around, name) for name in ("concurrency", "adaptive") if name not in given}
    return section.model_copy(update=inherited)


def _shared(section: QuotaSection, run: LimitsSection) -> Quota:
    return Quota(
        concurrency=run.concurrency if section.concurrency is None else section.concurrency,
        qps=section.qps,
        rpm=section.rpm,
        tpm=section.tpm,
        adaptive=run.adaptive,
    )


def _quota(section: LimitsSection) -> Quota:
    return Quota(
        concurrency=section.concurrency,
        qps=section.qps,
        rpm=section.rpm,
        tpm=section.tpm,
        adaptive=section.adaptive,
    )


def _price(section: PriceSection) -> Price:
    return Price(
        prompt_per_1k=section.prompt_per_1k,
        completion_per_1k=section.completion_per_1k,
        unit_hour=section.unit_hour,
        units=section.units,
        currency=section.currency,
    )


def _retry(section: RetrySection) -> RetryPolicy:
    return RetryPolicy(
        retry_count=section.retry_count,
        request_timeout_s=section.request_timeout,
        connect_timeout_s=section.connect_timeout,
        event_timeout_s=section.event_timeout,
        backoff_factor=section.backoff_factor,
        jitter_s=section.retry_jitter,
        max_wait_s=section.retry_max_wait_interval,
        throttle_timeout_s=section.throttle_timeout,
        extra_codes=frozenset(section.retry_err_codes),
    )


def _scorer(section: ScorerSection) -> ScorerSettings:
    compares = section.scorer in BUILT_IN_SCORERS and section.scorer != "regex"
    normalise = DEFAULT_NORMALISATION if compares else ()
    return ScorerSettings(
        scorer=section.scorer,
        name=scorer_name(section.scorer, section.name),
        reference=section.reference or (DEFAULT_REFERENCE if compares else None),
        pattern=section.pattern,
        normalise=normalise if section.normalise is None else tuple(section.normalise),
        whole_words=section.whole_words,
    )


def scorer_name(scorer: str, name: str | None) -> str:
    """How reports call a scorer: as the job says, else by the scorer's or the function's name."""
    return name or scorer.rpartition(":")[2]
