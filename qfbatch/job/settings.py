"""A job, frozen: what `load.load_job` makes of a job file and everything below it reads.

Defaults stand here once; the JSON Schema, `qfbatch init` and the documentation are generated from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qfbatch.limits.quota import Quota
from qfbatch.pricing import Price, mixed
from qfbatch.retry import RetryPolicy
from qfbatch.service.qianfan import QIANFAN_V1_ACCESS
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address

BUILT_IN_SCORERS = ("exact_match", "contains", "regex", "edit_similarity", "chrf")
NORMALISATIONS = ("nfkc", "case", "punctuation", "whitespace")
DEFAULT_REFERENCE = "reference"
DEFAULT_NORMALISATION = ("whitespace",)  # of scorers that compare texts
LOCAL = "local"  # `service.base_url` that starts the embedded server for the run


@dataclass(frozen=True, slots=True)
class InputSettings:
    """Where rows come from and what is asked of each.

    Attributes:
        paths: files, folders and globs, as spelled in the job file.
        id: column with a unique id; None derives ids from file name and row position.
        prompt: column that holds the prompt; exactly one of `prompt`, `template` and `messages` is set.
        template: text with `{column}` fields; `{{` and `}}` are literal braces.
        messages: column that holds a list of chat messages.
        system: template of a system message before the prompt; None for none.
        columns: columns carried into the results; None carries all.
        shard_rows: rows a shard.
        access: to object storage.
    """

    paths: tuple[str, ...]
    id: str | None = None
    prompt: str | None = None
    template: str | None = None
    messages: str | None = None
    system: str | None = None
    columns: tuple[str, ...] | None = None
    shard_rows: int = 1000
    access: StorageAccess = StorageAccess()  # noqa: RUF009 - it holds nothing, and cannot be changed


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Which service answers, and in which dialect.

    Attributes:
        api: the dialect, by its name: qianfan (V1), openai or openai-chat.
        base_url: scheme and authority, and a path prefix where there is one; `local` starts the embedded
            server.
        auth: auto, iam, oauth, token, bearer or none.
        key_env: environment variable that holds the bearer key; None for the dialect's own.
    """

    api: str = "qianfan"
    base_url: str = QIANFAN_V1_ACCESS.base_url
    auth: str = "auto"
    key_env: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One place a model may be asked at.

    Attributes:
        name: how results and messages call it: the endpoint, unless the job names it.
        endpoint: how the service calls it: the last part of the URL (V1).
        service: which service has it.
        weight: its part of the model's calls, against the other endpoints' weights.
        quota: its own limits, beside the model's and the run's.
        shared_quota: the name of the quota it shares with others; None where it shares none.
        price: of its answers; None: the model's.
    """

    name: str
    endpoint: str
    service: ServiceSettings
    weight: float = 1.0
    quota: Quota | None = None
    shared_quota: str | None = None
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model the rows go through. `Job.endpoints_of` says where it is asked, whichever way it is written.

    Attributes:
        name: how results and reports call it.
        endpoint: how the service calls it: the last part of the URL (V1); empty where `endpoints` are given.
        parameters: body fields sent beside the prompt: the job's, overridden by the model's own; includes
            `stream` and whatever stood under `extra`.
        quota: the model's own limits, beside the run's.
        price: where an endpoint has none of its own; None where the job states none.
        service: which service has it; None: the job's.
        shared_quota: the name of the quota its one endpoint shares with others.
        endpoints: the places that serve it, where the job lists them; they all speak one dialect.
    """

    name: str
    endpoint: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    quota: Quota | None = None
    price: Price | None = None
    service: ServiceSettings | None = None
    shared_quota: str | None = None
    endpoints: tuple[EndpointSettings, ...] = ()

    def price_at(self, endpoint: EndpointSettings) -> Price | None:
        """What answers of this endpoint cost; None where the job states nothing."""
        return self.price if endpoint.price is None else endpoint.price

    @property
    def expected_price(self) -> Price | None:
        """Of tokens, endpoints being asked by their weights; None where the job states none."""
        return mixed([(self.price_at(end), end.weight) for end in self.endpoints] or [(self.price, 1.0)])

    @property
    def prices(self) -> tuple[Price, ...]:
        """Every price in force, the model's own once, in one currency."""
        own = [endpoint.price for endpoint in self.endpoints]
        general = [self.price] if None in own or not own else []
        return tuple(price for price in (*general, *own) if price is not None)


@dataclass(frozen=True, slots=True)
class Budget:
    """Where a run stops by itself (exit 6, resumable).

    Attributes:
        max_cost: in the models' currency, of all answers of the rows in the results, by whatever session:
            those that stand there and those known to be paid for that had to be dropped.
        max_total_tokens: of the same.
    """

    max_cost: float | None = None
    max_total_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ScorerSettings:
    """One scorer that judges the answers; it decides nothing about the answers themselves.

    Attributes:
        scorer: one of `BUILT_IN_SCORERS`, or a function of the user's own as `module:function`.
        name: how reports call it.
        reference: carried column with the right answer; None for scorers that need none.
        pattern: of `regex`.
        normalise: which of `NORMALISATIONS` are evened out before texts are compared.
        whole_words: `contains` counts only where no word goes on at the ends.
    """

    scorer: str
    name: str
    reference: str | None = None
    pattern: str | None = None
    normalise: tuple[str, ...] = ()
    whole_words: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One job file, validated and frozen.

    Attributes:
        name: names the run directory unless `output.path` does.
        source: the job file it came from.
        input, service, models, retry, limits, budget: its sections.
        quotas: limits that endpoints share, by name.
        output_path: the run directory: a folder, or a place in object storage.
        access: to object storage.
        evaluation: what judges the answers; empty for nothing.
        environment: names of environment variables the file read, for the manifest (never their values).
        warnings: what is allowed but probably not meant, one sentence each.
    """

    name: str
    source: Path
    input: InputSettings
    service: ServiceSettings
    models: tuple[ModelSettings, ...]
    retry: RetryPolicy
    limits: Quota
    budget: Budget
    output_path: Path | Address
    environment: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    access: StorageAccess = StorageAccess()  # noqa: RUF009 - as above
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    evaluation: tuple[ScorerSettings, ...] = ()

    def endpoints_of(self, model: ModelSettings) -> tuple[EndpointSettings, ...]:
        """The places that serve one of its models, at least one."""
        if model.endpoints:
            return model.endpoints
        service = model.service or self.service
        return (EndpointSettings(model.endpoint, model.endpoint, service, shared_quota=model.shared_quota),)

    def api_of(self, model: ModelSettings) -> str:
        """The dialect that one of its models is asked in."""
        return self.endpoints_of(model)[0].service.api

    @property
    def services(self) -> tuple[ServiceSettings, ...]:
        """The services its models are asked at, each once, in the order of the file."""
        found = (endpoint.service for model in self.models for endpoint in self.endpoints_of(model))
        return tuple(dict.fromkeys(found))
