"""The validated document → frozen settings: sections filled in, parameters merged, units in the names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qfbatch.job.document import (
    BudgetSection,
    InputSection,
    JobDocument,
    LimitsSection,
    ModelSection,
    OutputSection,
    PriceSection,
    RetrySection,
    ServiceSection,
)
from qfbatch.job.settings import Budget, InputSettings, Job, ModelSettings, ServiceSettings
from qfbatch.limits.quota import Quota
from qfbatch.pricing import Price
from qfbatch.retry import RetryPolicy
from qfbatch.service.parameters import body_fields
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import parse_path

RUNS = Path("runs")


def freeze(
    document: JobDocument,
    *,
    source: Path,
    base_url: str,
    environment: Sequence[str],
    warnings: Sequence[str],
    access: StorageAccess,
) -> Job:
    """The job's settings.

    Args:
        document: without any problem.
        source: the job file.
        base_url: from the file, the environment, or the default.
        environment: names of the variables that were read.
        warnings: what is allowed but probably not meant.
        access: to object storage.
    """
    limits = document.limits or LimitsSection()
    service = document.service or ServiceSection()
    budget = document.budget or BudgetSection()
    output = (document.output or OutputSection()).path
    return Job(
        name=document.name,
        source=source,
        input=_input(document.input, access),
        service=ServiceSettings(
            api=service.api, base_url=base_url, auth=service.auth, key_env=service.key_env
        ),
        models=tuple(_model(model, document, limits) for model in document.models),
        retry=_retry(document.retry or RetrySection()),
        limits=_quota(limits),
        budget=Budget(max_cost=budget.max_cost, max_total_tokens=budget.max_total_tokens),
        output_path=RUNS / document.name if output is None else parse_path(output),
        environment=tuple(sorted(environment)),
        warnings=tuple(warnings),
        access=access,
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


def _model(section: ModelSection, document: JobDocument, run: LimitsSection) -> ModelSettings:
    quota = None
    if section.limits is not None:
        # What the model does not say is the run's: a model's own qps must not bring a concurrency of its own.
        given = section.limits.model_fields_set
        inherited = {name: getattr(run, name) for name in ("concurrency", "adaptive") if name not in given}
        quota = _quota(section.limits.model_copy(update=inherited))
    return ModelSettings(
        name=section.name,
        endpoint=section.endpoint,
        parameters=body_fields(document.parameters or {}, section.parameters or {}),
        quota=quota,
        price=None if section.price is None else _price(section.price),
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
