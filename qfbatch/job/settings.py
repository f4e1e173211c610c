"""A job, frozen: what `load.load_job` makes of a job file and everything below it reads.

Defaults stand here once; the JSON Schema, `qfbatch init` and the documentation are generated from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qfbatch.limits.quota import Quota
from qfbatch.pricing import Price
from qfbatch.retry import RetryPolicy
from qfbatch.service.qianfan import QIANFAN_V1_ACCESS
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import Address

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
class ModelSettings:
    """One model the rows go through.

    Attributes:
        name: how results and reports call it.
        endpoint: how the service calls it: the last part of the URL (V1).
        parameters: body fields sent beside the prompt: the job's, overridden by the model's own; includes
            `stream` and whatever stood under `extra`.
        quota: the model's own limits, beside the run's.
        price: None where the job states none.
    """

    name: str
    endpoint: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    quota: Quota | None = None
    price: Price | None = None


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
class Job:
    """One job file, validated and frozen.

    Attributes:
        name: names the run directory unless `output.path` does.
        source: the job file it came from.
        input, service, models, retry, limits, budget: its sections.
        output_path: the run directory: a folder, or a place in object storage.
        access: to object storage.
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
