"""The job file's keys: types, ranges, defaults and meanings, each stated once.

The models check single values; what concerns several at once is in `checks`. Defaults come from the frozen
settings, so the JSON Schema and what a run does cannot disagree.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
)

from qfbatch.job import values
from qfbatch.job.scorer_section import ScorerSection
from qfbatch.job.settings import InputSettings, ServiceSettings
from qfbatch.job.strict import StrictSection
from qfbatch.limits.quota import Quota
from qfbatch.pricing import Price
from qfbatch.retry import RetryPolicy
from qfbatch.service.dialects import DIALECTS
from qfbatch.service.parameters import EXTRA, settable

_INPUT = InputSettings(paths=())
_SERVICE = ServiceSettings()
_RETRY = RetryPolicy()
_LIMITS = Quota()
_PRICE = Price()


def _parameters_schema() -> dict[str, Any]:
    """The JSON Schema of `parameters`: those of every dialect, each with the ranges of all that know it.

    A schema cannot see which dialect a job speaks, so it is looser than the checks, which know.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for dialect in DIALECTS.values():
        for name, rule in settable(dialect.rules).items():
            schema = {"description": rule.meaning, **_nullable(rule.schema())}
            if schema not in found.setdefault(name, []):
                found[name].append(schema)
    fields = {name: each[0] if len(each) == 1 else {"anyOf": each} for name, each in found.items()}
    extra = {"description": "additional body fields, sent as they are", "type": ["object", "null"]}
    return {"type": "object", "properties": {**fields, EXTRA: extra}, "additionalProperties": False}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


_TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1}}

Text = Annotated[str, Field(min_length=1), AfterValidator(values.printable)]
Template = Annotated[str, Field(min_length=1), AfterValidator(values.template)]
System = Annotated[str, Field(min_length=1), AfterValidator(values.system)]
PathText = Annotated[Text, AfterValidator(values.path)]
Paths = Annotated[
    list[PathText],
    Field(min_length=1),
    BeforeValidator(values.listed),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {**_TEXTS, "minItems": 1}]}),
]
Name = Annotated[Text, AfterValidator(values.file_name)]
# Editors offer the names there are, and take any other: a package may have brought it.
Api = Annotated[
    str,
    AfterValidator(values.api),
    WithJsonSchema({"anyOf": [{"enum": list(DIALECTS)}, {"type": "string", "minLength": 1}]}),
]
Auth = Annotated[str, AfterValidator(values.auth), Field(json_schema_extra={"enum": list(values.AUTHS)})]
Variable = Annotated[
    str, AfterValidator(values.variable), Field(json_schema_extra={"pattern": "^[A-Z_][A-Z0-9_]*$"})
]
BaseUrl = Annotated[str, AfterValidator(values.base_url)]
Currency = Annotated[str, AfterValidator(values.currency), Field(json_schema_extra={"pattern": "^[A-Z]{3}$"})]
Parameters = Annotated[dict[str, Any], WithJsonSchema(_parameters_schema())]

Count = Annotated[int, Field(ge=1, le=10**12)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
From0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class InputSection(StrictSection):
    """Where rows come from and what is asked of each. Exactly one of prompt, template, messages is given."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [way]} for way in ("prompt", "template", "messages")]}
    )

    path: Paths = Field(
        description="file, folder, glob, local or s3://, or a list: .jsonl, .jsonl.gz, .jsonl.zst, .parquet"
    )
    id: Text | None = Field(default=None, description="column with a unique id; without it ids are derived")
    prompt: Text | None = Field(default=None, description="column that holds the prompt")
    template: Template | None = Field(
        default=None, description="text over the row's columns: {column}; {{ and }} are braces"
    )
    messages: Text | None = Field(
        default=None, description="column that holds a list of chat messages, each with role and content"
    )
    system: System | None = Field(
        default=None, description="system message of a chat, before the prompt; a template like template"
    )
    columns: list[Text] | None = Field(
        default=None, description="columns carried into the results; all by default"
    )
    shard_rows: Count = Field(default=_INPUT.shard_rows, description="rows a shard")


_DEFAULT_ADDRESSES = "; ".join(
    f"for {' and '.join(names)} {access.variable} from the environment, else {access.base_url}"
    for access in dict.fromkeys(dialect.access for dialect in DIALECTS.values())
    for names in [[name for name, dialect in DIALECTS.items() if dialect.access == access]]
)


class ServiceSection(StrictSection):
    """Which service answers. Credentials come from the environment or .env only."""

    api: Api = Field(default=_SERVICE.api, description="the dialect spoken")
    base_url: BaseUrl | None = Field(
        default=None,
        description="scheme and host, with a path prefix where there is one; local starts the embedded "
        f"server for the run; by default {_DEFAULT_ADDRESSES}",
    )
    auth: Auth = Field(
        default=_SERVICE.auth, description="how calls are authorised; auto takes what the environment holds"
    )
    key_env: Variable | None = Field(
        default=None, description="name of the environment variable that holds the bearer key"
    )


class PriceSection(StrictSection):
    """What a model costs: by tokens, by compute unit and hour, or both."""

    prompt_per_1k: From0 | None = Field(default=None, description="per 1,000 prompt tokens")
    completion_per_1k: From0 | None = Field(default=None, description="per 1,000 completion tokens")
    unit_hour: From0 | None = Field(default=None, description="per compute unit and hour")
    units: Count = Field(default=_PRICE.units, description="compute units in use")
    currency: Currency = Field(default=_PRICE.currency, description="three-letter code")


class LimitsSection(StrictSection):
    """How many calls at once, and how many per time. All may be set together; null sets none."""

    concurrency: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=_LIMITS.concurrency, description="calls in flight at once"
    )
    qps: Above0 | None = Field(default=_LIMITS.qps, description="calls a second")
    rpm: Above0 | None = Field(default=_LIMITS.rpm, description="calls a minute")
    tpm: Above0 | None = Field(default=_LIMITS.tpm, description="tokens a minute, prompt and completion")
    adaptive: bool = Field(
        default=_LIMITS.adaptive,
        description="lower the concurrency while the service throttles, then raise it again",
    )


class QuotaSection(StrictSection):
    """Limits that several endpoints share, because the service counts their calls together."""

    concurrency: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="calls in flight at once; by default only the run's limit"
    )
    qps: Above0 | None = Field(default=None, description="calls a second")
    rpm: Above0 | None = Field(default=None, description="calls a minute")
    tpm: Above0 | None = Field(default=None, description="tokens a minute, prompt and completion")


class EndpointSection(StrictSection):
    """One of several places that serve the same model."""

    endpoint: Text = Field(description="how the service calls it: the last part of the URL")
    name: Text | None = Field(
        default=None, description="how results and messages call it, unique in its model; by default endpoint"
    )
    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = Field(
        default=1.0, description="its part of the model's calls, against the other endpoints' weights"
    )
    service: ServiceSection | None = Field(
        default=None,
        description="where it is, if not with its model; what it does not say is the model's",
    )
    limits: LimitsSection | None = Field(
        default=None, description="this endpoint's own limits, beside the model's and the run's"
    )
    price: PriceSection | None = Field(
        default=None, description="what its answers cost, if not as its model's; in one currency with that"
    )
    quota: Text | None = Field(default=None, description="the name under quotas of limits it shares")


class ModelSection(StrictSection):
    """One model; every row goes through each of them. Exactly one of endpoint and endpoints is given."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["endpoint"]}, {"required": ["endpoints"]}]}
    )

    name: Text = Field(description="how results and reports call it; unique")
    endpoint: Text | None = Field(
        default=None, description="how the service calls it: the last part of the URL"
    )
    endpoints: Annotated[list[EndpointSection], Field(min_length=1)] | None = Field(
        default=None,
        description="the places that serve it, where there are several: a row is asked at any of them",
    )
    service: ServiceSection | None = Field(
        default=None,
        description="which service has it, if not the job's; what it does not say is the job's",
    )
    parameters: Parameters | None = Field(
        default=None, description="this model's own; they win over the job's"
    )
    price: PriceSection | None = Field(
        default=None, description="prices come from here; the service publishes none"
    )
    limits: LimitsSection | None = Field(
        default=None,
        description="this model's own limits, beside the run's, whose concurrency it has by default",
    )
    quota: Text | None = Field(default=None, description="the name under quotas of limits it shares")


class RetrySection(StrictSection):
    """How failed attempts are retried, by the service's own names."""

    retry_count: Annotated[int, Field(ge=-1, le=10_000)] = Field(
        default=_RETRY.retry_count, description="total attempts of a row; 1, 0 and -1 make one"
    )
    request_timeout: Above0 = Field(
        default=_RETRY.request_timeout_s, description="longest duration of one attempt, seconds"
    )
    connect_timeout: Above0 = Field(
        default=_RETRY.connect_timeout_s, description="longest duration of connecting, seconds"
    )
    event_timeout: Above0 = Field(
        default=_RETRY.event_timeout_s, description="longest silence within a stream, seconds"
    )
    throttle_timeout: Above0 = Field(
        default=_RETRY.throttle_timeout_s,
        description="how long a row may be throttled in all before it fails, seconds",
    )
    backoff_factor: From0 = Field(
        default=_RETRY.backoff_factor,
        description="wait after the first failed attempt, seconds; doubles each time",
    )
    retry_jitter: From0 = Field(
        default=_RETRY.jitter_s, description="upper bound of the random part of a wait, seconds"
    )
    retry_max_wait_interval: From0 = Field(
        default=_RETRY.max_wait_s, description="longest wait, jitter included, seconds"
    )
    retry_err_codes: list[int] = Field(
        default=sorted(_RETRY.extra_codes),
        description="service codes to retry although they count as permanent",
    )


class BudgetSection(StrictSection):
    """Where a run stops by itself; it can be resumed with a larger budget."""

    max_cost: Above0 | None = Field(
        default=None,
        description="in the models' currency, of the rows in the results, dropped answers included",
    )
    max_total_tokens: Count | None = Field(
        default=None, description="of the rows in the results, dropped answers included"
    )


class OutputSection(StrictSection):
    """Where results go."""

    path: PathText | None = Field(
        default=None, description="the run directory, local or s3://bucket/prefix; runs/<name> by default"
    )


class JobDocument(StrictSection):
    """A job of qfbatch: input rows, models, limits, and where the results go."""

    name: Name = Field(
        description="names the job; the run directory is runs/<name> unless output.path says otherwise"
    )
    input: InputSection = Field(description="where rows come from and what is asked of each")
    service: ServiceSection | None = Field(default=None, description="which service answers")
    models: Annotated[list[ModelSection], Field(min_length=1)] = Field(
        description="the same rows through each of them"
    )
    parameters: Parameters | None = Field(
        default=None, description="for all models; a row's own `parameters` column wins"
    )
    retry: RetrySection | None = Field(default=None, description="how failed attempts are retried")
    limits: LimitsSection | None = Field(
        default=None, description="how many calls at once and per time, for the run"
    )
    quotas: dict[Text, QuotaSection] | None = Field(
        default=None, description="limits that models or endpoints share, by a name of your own"
    )
    budget: BudgetSection | None = Field(default=None, description="where a run stops by itself")
    evaluation: list[ScorerSection] | None = Field(
        default=None, description="what judges the answers in reports; nothing by default"
    )
    output: OutputSection | None = Field(default=None, description="where results go")


# The way to a section (list positions left out) → the model of its keys.
SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): JobDocument,
    ("input",): InputSection,
    ("service",): ServiceSection,
    ("models",): ModelSection,
    ("models", "price"): PriceSection,
    ("models", "limits"): LimitsSection,
    ("models", "service"): ServiceSection,
    ("models", "endpoints"): EndpointSection,
    ("models", "endpoints", "service"): ServiceSection,
    ("models", "endpoints", "limits"): LimitsSection,
    ("models", "endpoints", "price"): PriceSection,
    ("retry",): RetrySection,
    ("limits",): LimitsSection,
    ("quotas",): QuotaSection,  # under a name of the user's own
    ("budget",): BudgetSection,
    ("evaluation",): ScorerSection,
    ("output",): OutputSection,
}


# A value of any type may be written as a reference to the environment.
_REFERENCE = {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}$"}
_NOT_TEXT = ("integer", "number", "boolean")
_ABOUT = ("description", "default")


def json_schema() -> dict[str, Any]:
    """The job file's JSON Schema (2020-12), with meanings, defaults and ranges."""
    schema = TypeAdapter(JobDocument).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_for_editors(schema)}


def _for_editors(schema: Any) -> Any:
    """Without pydantic's titles, and with `${NAME}` allowed where a number or a boolean is asked for."""
    if isinstance(schema, list):
        return [_for_editors(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kinds = schema.get("type", ())
    if any(kind in _NOT_TEXT for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        about = {key: schema[key] for key in _ABOUT if key in schema}
        rest = {key: part for key, part in schema.items() if key not in (*_ABOUT, "title")}
        return {**about, "anyOf": [rest, _REFERENCE]}
    return {
        key: _for_editors(part)
        for key, part in schema.items()
        if not (key == "title" and isinstance(part, str))
    }
