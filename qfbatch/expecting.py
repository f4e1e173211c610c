"""What the next calls to a model will be like: from answers it gave before, else from named assumptions.

Answers are looked for in the run itself, then in those that `--fresh` set aside, the newest first. Prompts
are counted alike whatever the parameters; how long answers are, and take, is taken over only from a run with
the same parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from qfbatch.checkpoint.directory import list_predecessors
from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.checkpoint.place import RunPlace, run_place
from qfbatch.checkpoint.sampling import Answered, sample_answers
from qfbatch.errors import QfbatchError
from qfbatch.fingerprint import agree, fingerprint
from qfbatch.job.settings import Job, ModelSettings
from qfbatch.plans import ASSUMED, SEEN
from qfbatch.render.numbers import things
from qfbatch.tokens import FIRST_EXPECTED_COMPLETION, estimate

ASSUMED_LATENCY_S = 2.0
MAX_TOKENS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class Expectation(Struct, frozen=True):
    """What one call to a model will probably be like.

    Attributes:
        correction: reported prompt tokens over estimated ones.
        completion_tokens: of an answer.
        latencies_s: how long calls took, or one assumed value.
        basis: where `completion_tokens` comes from: `seen` or `assumed`.
        prompt_basis, completion_basis, latency_basis: where each figure comes from, in words.
    """

    correction: float
    completion_tokens: float
    latencies_s: tuple[float, ...]
    basis: str
    prompt_basis: str
    completion_basis: str
    latency_basis: str

    @property
    def latency_s(self) -> float:
        """The mean of `latencies_s`."""
        return sum(self.latencies_s) / len(self.latencies_s)


def expectations(job: Job) -> dict[str, Expectation]:
    """What to expect of each of the job's models; reads a bounded sample of earlier answers.

    Raises:
        StorageError: the run directory can't be read.
        RunDirectoryError: a newer qfbatch wrote it.
    """
    layout = run_place(job.output_path, job.access)
    runs: list[tuple[RunPlace, Mapping[str, Any]]] = [(layout, _fingerprint_of(layout))]
    for earlier in list_predecessors(layout):
        try:
            runs.append((earlier, _fingerprint_of(earlier)))
        except QfbatchError:
            continue  # set aside, perhaps because it was damaged: it tells nothing then
    return {model.name: _expectation(job, model, runs) for model in job.models}


def _fingerprint_of(layout: RunPlace) -> Mapping[str, Any]:
    manifest = read_manifest(layout)
    return {} if manifest is None else manifest.fingerprint


def _expectation(
    job: Job, model: ModelSettings, runs: Sequence[tuple[RunPlace, Mapping[str, Any]]]
) -> Expectation:
    asked = {name: value for name, value in fingerprint(job).items() if name.startswith(_prefix(model))}
    correction, prompt_basis = 1.0, "the documented estimate"
    for layout, before in runs:
        same = {name for name, value in asked.items() if agree(name, before.get(name), value)}
        if not {f"{_prefix(model)}api", f"{_prefix(model)}endpoint"} <= same:
            continue
        answers = sample_answers(layout, model.name)
        if correction == 1.0 and (seen := _correction(answers)) is not None:
            correction = seen
            prompt_basis = f"the documented estimate times {seen:.3g}, as {layout} reports"
        if len(same) == len(asked) and (found := _seen(answers, correction, prompt_basis, layout)):
            return found
    return _assumed(model, correction, prompt_basis)


def _prefix(model: ModelSettings) -> str:
    return f"models.{model.name}."


def _correction(answers: Sequence[Answered]) -> float | None:
    counted = [answer for answer in answers if answer.prompt_tokens is not None]
    estimated = sum(estimate(answer.prompt) for answer in counted)
    reported = sum(answer.prompt_tokens or 0 for answer in counted)
    return reported / estimated if estimated and reported else None


def _seen(
    answers: Sequence[Answered], correction: float, prompt_basis: str, layout: RunPlace
) -> Expectation | None:
    completions = [a.completion_tokens for a in answers if a.completion_tokens is not None]
    latencies = tuple(answer.latency_s for answer in answers if answer.latency_s is not None)
    if not completions or not latencies:
        return None
    return Expectation(
        correction=correction,
        completion_tokens=sum(completions) / len(completions),
        latencies_s=latencies,
        basis=SEEN,
        prompt_basis=prompt_basis,
        completion_basis=f"the mean of {things(len(completions), 'answer')} in {layout}",
        latency_basis=f"as seen in {layout}",
    )


def _assumed(model: ModelSettings, correction: float, prompt_basis: str) -> Expectation:
    """Nothing was answered yet: as many tokens as the model may write, where the job says so."""
    tokens, basis = FIRST_EXPECTED_COMPLETION, "assumed, no answer has been seen"
    for name in MAX_TOKENS:
        value = model.parameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            tokens, basis = value, f"assumed: as many as {name} allows"
            break
    return Expectation(
        correction=correction,
        completion_tokens=float(tokens),
        latencies_s=(ASSUMED_LATENCY_S,),
        basis=ASSUMED,
        prompt_basis=prompt_basis,
        completion_basis=basis,
        latency_basis="assumed, no call has been seen",
    )


__all__ = ["ASSUMED_LATENCY_S", "Expectation", "expectations"]
