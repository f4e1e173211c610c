"""The values that travel a row's way: Row → Request → Completion | Failure → Record.

All are frozen and carry no behaviour beyond what they are. `row_id`, `model` and `shard` travel all the way;
nothing is ever joined by position.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct, field


class Status(StrEnum):
    """How a row ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class UsageSource(StrEnum):
    """Where token counts come from."""

    REPORTED = "reported"
    ESTIMATED = "estimated"


class Action(StrEnum):
    """What a failed attempt asks for (the "do" column of the service's error table)."""

    RETRY = "retry"  # transient: wait, then the same call again; burns an attempt
    THROTTLE = "throttle"  # transient and a rate signal: pauses the endpoint; burns no attempt
    REFRESH = "refresh"  # the credential went stale: renew it, then once more
    ROW = "row"  # permanent for this row: record it and go on
    JOB = "job"  # permanent for every row: stop the run, resumable


class ErrorKind(StrEnum):
    """What failed, in the words of reports (`error_kind`); the service's own code stands beside it."""

    CONNECTION = "connection"  # refused, reset, name not found, TLS
    TIMEOUT = "timeout"  # connect, whole attempt, or between stream events
    BAD_ANSWER = "bad_answer"  # not JSON, wrong types, body cut, too large
    TRUNCATED_STREAM = "truncated_stream"  # a stream that ended without its end event
    SERVER = "server"  # the service's own transient failure, HTTP 5xx
    RATE_LIMITED = "rate_limited"  # QPS, RPM, TPM limit
    OVERLOADED = "overloaded"  # the service has too much to do, whoever asks
    INVALID_REQUEST = "invalid_request"  # the service rejects this row's request
    TOO_LONG = "too_long"  # prompt beyond the model's limit
    UNSAFE = "unsafe"  # refused as unsafe content
    CREDENTIALS = "credentials"  # missing, wrong, expired
    PERMISSION = "permission"  # not allowed, not published
    NOT_FOUND = "not_found"  # no such endpoint or model
    QUOTA = "quota"  # daily or total quota used up, account overdue
    UNKNOWN = "unknown"  # a code the table does not know


class Row(Struct, frozen=True, gc=False):
    """One input row.

    Attributes:
        row_id: unique in the input: the id column's value, else derived from file name and row position.
        source_file: the file it came from, as named by the job.
        source_row: line (JSONL) or row (Parquet) in that file, from 1.
        columns: the row's columns as read; values are JSON values.
    """

    row_id: str
    source_file: str
    source_row: int
    columns: dict[str, Any]


class Shard(Struct, frozen=True, gc=False):
    """A run of consecutive rows of one file: the unit of planning, checkpointing and leasing.

    Attributes:
        number: position in the whole input, from 0.
        source_file: the file the rows stand in.
        first_row: `source_row` of its first row, from 1.
        rows: how many rows it holds (blank lines are not rows).
        offset: where reading starts: byte offset of the first line (JSONL, uncompressed), row index from 0
            (Parquet).
        estimated_prompt_tokens: sum of `tokens.estimate` over its prompts; None in runs begun before 0.2.
        answer_caps: how long answers may be where rows say so themselves (`tokens.answer_cap`): tokens, and
            how many of the rows; ascending. Close ones are one where there are very many.
    """

    number: int
    source_file: str
    first_row: int
    rows: int
    offset: int
    estimated_prompt_tokens: int | None = None
    answer_caps: tuple[tuple[int, int], ...] = ()


class SourceFile(Struct, frozen=True, gc=False):
    """An input file as it was when the run was planned.

    Attributes:
        name: the name used in results (`source_file`): as the job's pattern spells it.
        path: where it was found.
        size: bytes.
        mtime_ns: modification time, nanoseconds since the epoch.
        digest: SHA-256 of its bytes, lower-case hex.
        rows: rows in it.
        etag: of an object, as its store said; empty for a file, as is `mtime_ns` for an object.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    digest: str
    rows: int
    etag: str = ""


class InputColumn(Struct, frozen=True, gc=False):
    """A carried column and the one type it has in every part of the run.

    Attributes:
        name: as in the input; `input_<name>` in results.
        kind: string, int64, float64, bool, or json (a string holding JSON text: nested or mixed values).
    """

    name: str
    kind: str


class Survey(Struct, frozen=True, gc=False):
    """What one pass over the whole input found: every row valid, every id unique, and this.

    Attributes:
        files: the input files in reading order.
        shards: their shards, numbered from 0 in reading order.
        columns: carried columns with their types.
        rows: all rows.
        estimated_prompt_tokens: sum of `tokens.estimate` over all prompts.
    """

    files: tuple[SourceFile, ...]
    shards: tuple[Shard, ...]
    columns: tuple[InputColumn, ...]
    rows: int
    estimated_prompt_tokens: int


class Dropped(Struct, frozen=True, gc=False):
    """What was paid for answers that a row had to drop.

    Attributes:
        tokens: as the service counted them.
        cost: of these, in `currency`; None without a price.
    """

    tokens: int
    cost: float | None = None
    currency: str | None = None


class Request(Struct, frozen=True, gc=False):
    """One row, rendered for one model: what will be asked.

    Attributes:
        row_id, source_file, source_row: as in `Row`.
        model: the model's name in the job.
        shard: number of the row's shard.
        prompt: as sent.
        parameters: body fields beside the prompt, `stream` included, as sent; the same dict for many rows.
        parameters_text: of these, as results keep them (`service.parameters.as_sent`).
        estimated_tokens: prompt estimate plus expected completion; what the token limit is asked for.
        columns: the carried columns.
        messages: whether `prompt` is the JSON text of a list of messages.
        failed_before: whether a failed record of the row stands, which this request is to replace.
        dropped_before: what that record had to drop, which the new one carries on; None where it was nothing.
    """

    row_id: str
    source_file: str
    source_row: int
    model: str
    shard: int
    prompt: str
    parameters: dict[str, Any]
    parameters_text: str
    estimated_tokens: int
    columns: dict[str, Any]
    messages: bool = False
    failed_before: bool = False
    dropped_before: Dropped | None = None


class Usage(Struct, frozen=True, gc=False):
    """Token counts of one answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    source: UsageSource = UsageSource.REPORTED


class Completion(Struct, frozen=True, gc=False):
    """An answer. What the service did not say is None, never a made-up default."""

    result: str
    usage: Usage | None = None
    is_safe: bool | None = None
    need_clear_history: bool | None = None
    is_truncated: bool | None = None
    ban_round: int | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    object: str | None = None
    created: int | None = None
    time_to_first_token_s: float | None = None
    extra: str | None = None  # JSON of what else came with the answer: log probabilities, reasoning, …


class Failure(Struct, frozen=True, gc=False):
    """A failed attempt.

    Attributes:
        kind: what failed.
        action: what to do about it.
        message: in the service's words where it has any; never a secret, never a whole body.
        code: the service's code, or the HTTP status.
        retry_after_s: how long the service asks to wait.
        is_safe: False where the failure itself says the content is unsafe.
        usage: tokens known to have been paid for an answer that had to be dropped.
    """

    kind: ErrorKind
    action: Action
    message: str
    code: int | None = None
    retry_after_s: float | None = None
    is_safe: bool | None = None
    usage: Usage | None = None


class Record(Struct, frozen=True, gc=False, omit_defaults=True):
    """One row of the results: the end of a row's way for one model. Columns as in `schema.COLUMNS`.

    `started_at`, `finished_at` are microseconds, `created` seconds since the epoch, UTC.
    `columns` holds the carried columns by their input names.
    """

    row_id: str
    model: str
    endpoint: str
    shard: int
    source_file: str
    source_row: int
    prompt: str
    status: Status
    attempts: int
    started_at: int
    finished_at: int
    parameters: str
    result: str | None = None
    is_safe: bool | None = None
    need_clear_history: bool | None = None
    is_truncated: bool | None = None
    ban_round: int | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    usage_source: UsageSource | None = None
    discarded_tokens: int = 0
    discarded_cost: float | None = None
    cost: float | None = None
    currency: str | None = None
    error_kind: ErrorKind | None = None
    error_code: int | None = None
    error_message: str | None = None
    latency_s: float | None = None
    time_to_first_token_s: float | None = None
    wait_s: float = 0.0
    response_id: str | None = None
    object: str | None = None
    created: int | None = None
    extra: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)


__all__ = [
    "Action",
    "Completion",
    "Dropped",
    "ErrorKind",
    "Failure",
    "InputColumn",
    "Record",
    "Request",
    "Row",
    "Shard",
    "SourceFile",
    "Status",
    "Survey",
    "Usage",
    "UsageSource",
]
