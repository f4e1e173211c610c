"""Job files for tests: the smallest valid one, the contract's sample, and how to load a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from qfbatch.errors import JobFileError
from qfbatch.job.load import load_job
from qfbatch.job.settings import Job

MINIMAL = """\
name: tiny
input:
  path: rows.jsonl
  prompt: prompt
models:
  - name: m
    endpoint: e
"""

# The sample of the documentation, with `template` left out: exactly one of prompt and template may stand.
SAMPLE = """\
name: eval                          # run directory is runs/<name> unless output.path says otherwise
input:
  path: sample_data/prompts.jsonl   # file, glob, directory, or a list of them
  id: id                            # column with a unique id
  prompt: prompt                    # column that holds the prompt, or …
  columns: [topic, reference]       # columns carried into the results; all by default
  shard_rows: 1000
service:
  api: qianfan
  base_url: https://aip.baidubce.com
  auth: auto
models:                             # the same rows through each of them
  - name: yi-34b
    endpoint: your_yi_34b_endpoint
    parameters: {temperature: 0.8}
    price: {prompt_per_1k: 0.004, completion_per_1k: 0.004, currency: CNY}   # and/or unit_hour, units
  - name: pythia-6.9b
    endpoint: your_pythia_endpoint
parameters: {top_p: 0.8, stop: ["\\n\\n"], stream: false, extra: {}}           # for all models
retry: {retry_count: 5, request_timeout: 60, backoff_factor: 1, retry_jitter: 1, retry_max_wait_interval: 120}
limits: {concurrency: 16, qps: null, rpm: null, tpm: null, adaptive: true}   # for the run
budget: {max_cost: null, max_total_tokens: null}
output: {path: runs/eval}           # local or s3://
"""


def load_text(
    directory: Path,
    text: str | bytes,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> Job:
    """The job of a file with this text."""
    path = directory / "job.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_job(path, environ=environ or {}, overrides=overrides)


def problems_of(
    directory: Path,
    text: str | bytes,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> list[str]:
    """The problems of a file with this text; the test fails where there are none."""
    with pytest.raises(JobFileError) as caught:
        load_text(directory, text, environ=environ, overrides=overrides)
    return list(caught.value.problems)
