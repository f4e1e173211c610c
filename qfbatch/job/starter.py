"""The commented job file that `qfbatch init` writes: every section, its defaults, what to fill in.

Defaults are taken from the settings, so the text cannot promise other ones than those in force.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from qfbatch.job.settings import InputSettings, ServiceSettings
from qfbatch.job.values import file_name
from qfbatch.job.yaml_scalars import typed
from qfbatch.limits.quota import Quota
from qfbatch.retry import RetryPolicy
from qfbatch.service.dialects import dialect_named
from qfbatch.service.parameters import Rules
from qfbatch.template import Template, TemplateError

DEFAULT_API = ServiceSettings().api
_IDS = ("id", "row_id", "uuid", "key", "question_id", "prompt_id", "qid")
_PROMPTS = ("prompt", "question", "query", "instruction", "text", "input", "content")
_MAX_TEMPLATE_COLUMNS = 2
_KEYS = "QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY, or QIANFAN_AK and QIANFAN_SK"
_BEARER_KEYS = "QIANFAN_BEARER_TOKEN or OPENAI_API_KEY"
_ENDPOINT = "your_yi_34b_endpoint   # the last part of the service's URL"
_MODEL = "your_model               # as the service calls the model"
_EXAMPLES = {
    "max_tokens": "256",
    "max_completion_tokens": "1024",
    "temperature": "0.8",
    "top_p": "0.8",
    "top_k": "40",
    "penalty_score": "1.0",
    "repetition_penalty": "1.0",
    "presence_penalty": "0.0",
    "frequency_penalty": "0.0",
    "seed": "7",
    "stop": '["\\n\\n"]',
}
_BY_TYPE = {"boolean": "false", "integer": "1", "number": "1.0", "string": "some-text"}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")


def starter(
    *,
    name: str = "eval",
    path: str = "prompts.jsonl",
    row: Mapping[str, Any] | None = None,
    api: str = DEFAULT_API,
) -> str:
    """The text of a job file that loads as it stands, once there is its input.

    Args:
        name: the job's name; one that cannot name a directory becomes `eval`.
        path: the input.
        row: columns of the input's first row, by which id and prompt are chosen; None where it is not known.
        api: the dialect that the service speaks.
    """
    dialect, retry, limits = dialect_named(api), RetryPolicy(), Quota()
    access = dialect.access
    qianfan = api == DEFAULT_API
    return f"""\
# yaml-language-server: $schema=job.schema.json
# A job of qfbatch. Editors complete it once the schema is beside it: qfbatch schema > job.schema.json
#   qfbatch check FILE   validates it and asks each model once
#   qfbatch run FILE     runs it, or resumes it
# ${{NAME}} and ${{NAME:-default}} read the environment. Credentials stay out of this file: they come from the
# environment or .env ({_KEYS if qianfan else _BEARER_KEYS}).

name: {_quoted(_usable(name))}                  # the run directory is runs/<name>

input:
  path: {_quoted(path)}   # file, folder, glob or a list of them: .jsonl, .jsonl.gz, .jsonl.zst, .parquet
{_question(row)}
  # messages: messages           # … or, for chats (openai-chat), a column with a list of messages
  # system: Answer briefly.      # a chat's system message before the prompt; a template, too
  # columns: [topic, reference]  # columns carried into the results; all by default
  # shard_rows: {InputSettings(paths=()).shard_rows}

service:
  api: {api}                 # qianfan (V1), openai or openai-chat (Qianfan V2 and compatible servers)
  # base_url: {access.base_url}   # or {access.variable}; local starts the embedded server for the run
  # auth: {access.auths[0]}                   # {", ".join(access.auths[:-1])} or {access.auths[-1]}
  # key_env: MY_KEY              # variable with the bearer key; QIANFAN_BEARER_TOKEN by default

models:                          # every row goes through each of them
  - name: {"yi-34b" if qianfan else "my-model"}
    endpoint: {_ENDPOINT if qianfan else _MODEL}
    # parameters: {{temperature: 0.8}}   # this model's own
    # price: {{prompt_per_1k: 0.004, completion_per_1k: 0.004, currency: CNY,   # by tokens, …
    #   unit_hour: 20, units: 1}}       # … by compute unit and hour, or by both
    # limits: {{qps: 1}}               # this model's own, beside the run's
  # - name: pythia-6.9b
  #   quota: account                # it shares the limits of this name under quotas
  #   endpoints:                    # instead of endpoint: the places that serve the same model
  #     - {{endpoint: first, weight: 2}}   # twice the calls of one with weight 1
  #     - {{endpoint: second, name: spare, service: {{base_url: "http://127.0.0.1:8600"}}}}

parameters:                      # for all models; a row's own `parameters` column wins
{_parameters(dialect.rules)}

retry:
  # retry_count: {retry.retry_count}               # total attempts of a row
  # request_timeout: {retry.request_timeout_s:g}          # seconds, one attempt
  # connect_timeout: {retry.connect_timeout_s:g}
  # event_timeout: {retry.event_timeout_s:g}            # longest silence within a stream
  # throttle_timeout: {retry.throttle_timeout_s:g}        # how long a row may be throttled in all
  # backoff_factor: {retry.backoff_factor:g}            # wait after attempt n: this * 2**(n-1) + jitter
  # retry_jitter: {retry.jitter_s:g}
  # retry_max_wait_interval: {retry.max_wait_s:g}
  # retry_err_codes: []          # service codes to retry although they count as permanent

limits:                          # all that are set hold together
  # concurrency: {limits.concurrency}              # calls at once
  # qps: 1                       # calls a second
  # rpm: 60                      # calls a minute
  # tpm: 60000                   # tokens a minute
  # adaptive: {str(limits.adaptive).lower()}               # fewer calls at once while the service throttles

quotas:                          # limits that models or endpoints share, by a name of your own
  # account: {{rpm: 300}}

budget:                          # the run stops there, and can be resumed with a larger one
  # max_cost: 10                 # in the models' currency; needs prices
  # max_total_tokens: 1000000

evaluation:                      # what judges the answers in reports; nothing by default
  # - {{scorer: exact_match, reference: reference, normalise: [nfkc, case, punctuation, whitespace]}}
  # - {{scorer: contains, whole_words: true}}   # reference is the column `reference` where none is named
  # - {{scorer: regex, pattern: '\\d+'}}
  # - {{scorer: chrf}}               # or edit_similarity: pip install 'qfbatch[evaluate]'
  # - {{scorer: "my_scorers:score"}} # a function of yours: (answer, reference, row) -> number

output:
  # path: runs/{_usable(name)}
"""


def _parameters(rules: Rules) -> str:
    """A commented line for each parameter of a dialect that a job may set."""
    lines = []
    for name, rule in rules.items():
        kind = rule.schema().get("type")
        if kind is not None:  # what a job may not set has no type
            example = _EXAMPLES.get(name) or _BY_TYPE[kind]
            lines.append(f"  # {name}: {example}".ljust(33) + f"# {rule.meaning}")
    return "\n".join([*lines, "  # extra: {}                    # additional body fields, sent as they are"])


def _usable(name: str) -> str:
    try:
        return file_name(name) if name and name.isprintable() and name == name.strip() else "eval"
    except ValueError:
        return "eval"


def _question(row: Mapping[str, Any] | None) -> str:
    """The lines `id` and `prompt` or `template`, chosen by the row."""
    if row is None:
        return (
            "  id: id                       # column with a unique id; without it ids are derived\n"
            + _alternatives("prompt: prompt")
        )
    columns = [name for name in row if name and name.isprintable() and name == name.strip()]
    texts = [name for name in columns if isinstance(row[name], str)]
    id_column = next((name for name in columns if name.lower() in _IDS), None)
    id_line = (
        f"  id: {_quoted(id_column)}                     # column with a unique id\n"
        if id_column
        else "  # id: id                     # column with a unique id; without it ids are derived\n"
    )
    prompt = next((known for known in _PROMPTS for name in texts if name == known), None)
    if prompt:
        return id_line + _alternatives(f"prompt: {prompt}")
    return id_line + _template_lines([name for name in texts if name != id_column])


def _template_lines(texts: Sequence[str]) -> str:
    """A template over the first text columns that a template can name."""
    text = "\n".join(f"{{{name}}}" for name in texts[:_MAX_TEMPLATE_COLUMNS])
    try:
        usable = list(Template(text).fields) == list(texts[:_MAX_TEMPLATE_COLUMNS]) and bool(texts)
    except TemplateError:
        usable = False
    if not usable:
        return _alternatives(f"prompt: {_quoted(texts[0])}" if texts else "prompt: prompt")
    return (
        "  # prompt: prompt             # column that holds the prompt, or …\n"
        f"  template: {_quoted(text)}   # … a template over the row's columns (exactly one of the two)"
    )


def _alternatives(prompt: str) -> str:
    return (
        f"  {prompt}               # column that holds the prompt, or …\n"
        '  # template: "Q: {question}\\nA:"   # … a template over the row\'s columns (exactly one of the two)'
    )


def _quoted(text: str) -> str:
    """A text as a YAML value on one line; plain where that reads the same."""
    if _PLAIN.fullmatch(text) and isinstance(typed(text), str):
        return text
    escaped = text.replace("${", "$${")
    return yaml.safe_dump(escaped, default_style='"', allow_unicode=True, width=10**9).strip()
