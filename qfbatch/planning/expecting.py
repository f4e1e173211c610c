"""What the next calls to a model will be like: from answers it gave before, else from named assumptions.

Answers are looked for in the run itself, then in those that `--fresh` set aside, the newest first. Prompts
are counted alike whatever the parameters; how long answers are, and take, is taken over only from a run with
the same parameters. Where rows say themselves how long their answers may be, that counts (`lengths`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from qfbatch.checkpoint.answered import Answered, sample_answers
from qfbatch.checkpoint.directory import list_predecessors
from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.checkpoint.place import RunPlace, run_place
from qfbatch.errors import QfbatchError
from qfbatch.fingerprint import agree, fingerprint
from qfbatch.job.settings import LOCAL, Job, ModelSettings
from qfbatch.planning.lengths import Seen, expected_length
from qfbatch.planning.plans import ASSUMED, SEEN
from qfbatch.render.numbers import things
from qfbatch.server.embedded import MAX_TOKENS, SLOTS
from qfbatch.tokens import FIRST_EXPECTED_COMPLETION, answer_cap, estimate

ASSUMED_LATENCY_S = 2.0
LATENCY_RANGE_S = (0.5, 8.0)  # as wide as services differ
LOCAL_TOKENS_PER_S = (
    200.0,
    100.0,
    50.0,
)  # of all calls together: measured on idle cores, assumed, on busy ones
Caps = Mapping[int | None, float]  # rows by the answer cap they set themselves; None for those without


class Expectation(Struct, frozen=True):
    """What one call to a model will probably be like.

    Attributes:
        correction: reported prompt tokens over estimated ones.
        completion_tokens: of an answer, the mean over the rows that are left.
        latencies_s: how long calls took, or one assumed value.
        basis: where `completion_tokens` comes from: `seen` or `assumed`.
        prompt_basis, completion_basis, latency_basis: where each figure comes from, in words.
        latency_range_s: the shortest and the longest mean latency that are likely; None once calls were seen.
    """

    correction: float
    completion_tokens: float
    latencies_s: tuple[float, ...]
    basis: str
    prompt_basis: str
    completion_basis: str
    latency_basis: str
    latency_range_s: tuple[float, float] | None = None

    @property
    def guessed(self) -> bool:
        """Whether no answer has been seen yet."""
        return self.basis == ASSUMED

    @property
    def latency_s(self) -> float:
        """The mean of `latencies_s`."""
        return sum(self.latencies_s) / len(self.latencies_s)


def expectations(job: Job, left: Mapping[str, Caps]) -> dict[str, Expectation]:
    """What to expect of each of the job's models; reads a bounded sample of earlier answers.

    Args:
        job: the job.
        left: each model's rows that are left, by the most tokens that they themselves allow their answers.

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
    return {model.name: _expectation(job, model, left[model.name], runs) for model in job.models}


def _fingerprint_of(layout: RunPlace) -> Mapping[str, Any]:
    manifest = read_manifest(layout)
    return {} if manifest is None else manifest.fingerprint


def _expectation(
    job: Job, model: ModelSettings, left: Caps, runs: Sequence[tuple[RunPlace, Mapping[str, Any]]]
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
        if len(same) == len(asked) and (
            found := _seen(answers, _capped(left, model), correction, prompt_basis, layout)
        ):
            return found
    return _assumed(job, model, left, correction, prompt_basis)


def _prefix(model: ModelSettings) -> str:
    return f"models.{model.name}."


def _capped(left: Caps, model: ModelSettings) -> Caps:
    """The rows by the cap that holds: their own, else their model's."""
    general = answer_cap(model.parameters)
    capped: dict[int | None, float] = {}
    for own, rows in left.items():
        cap = general[1] if own is None and general is not None else own
        capped[cap] = capped.get(cap, 0.0) + rows
    return capped


def _correction(answers: Sequence[Answered]) -> float | None:
    counted = [answer for answer in answers if answer.prompt_tokens is not None]
    estimated = sum(estimate(answer.prompt) for answer in counted)
    reported = sum(answer.prompt_tokens or 0 for answer in counted)
    return reported / estimated if estimated and reported else None


def _seen(
    answers: Sequence[Answered], left: Caps, correction: float, prompt_basis: str, layout: RunPlace
) -> Expectation | None:
    seen = [
        Seen(answer.cap, answer.completion_tokens, answer.latency_s)
        for answer in answers
        if answer.completion_tokens is not None and answer.latency_s is not None
    ]
    if not seen:
        return None
    length = expected_length(seen, left)
    basis = f"the mean of {things(len(seen), 'answer')} in {layout}"
    if {answer.cap for answer in seen} | set(left) != {seen[0].cap}:
        basis += ", by how long each row allows its answer to be"
    return Expectation(
        correction=correction,
        completion_tokens=length.tokens,
        latencies_s=length.latencies_s,
        basis=SEEN,
        prompt_basis=prompt_basis,
        completion_basis=basis,
        latency_basis=f"as seen in {layout}",
    )


def _assumed(job: Job, model: ModelSettings, left: Caps, correction: float, prompt_basis: str) -> Expectation:
    """Nothing was answered yet: as many tokens as may be written, where row, job or server say so."""
    local = all(endpoint.service.base_url == LOCAL for endpoint in job.endpoints_of(model))
    most, basis = (
        FIRST_EXPECTED_COMPLETION,
        f"assumed: {FIRST_EXPECTED_COMPLETION} a row, no answer has been seen",
    )
    if local:
        most, basis = MAX_TOKENS, f"at most: the local server ends an answer after {MAX_TOKENS} tokens"
    if (general := answer_cap(model.parameters)) is not None:
        most, basis = general[1], f"at most: as many as {general[0]} allows"
    rows, tokens = sum(left.values()), float(most)
    if rows:
        tokens = sum((most if own is None else own) * some for own, some in left.items()) / rows
    if any(own is not None for own in left):
        others = f"; for rows that do not say, {basis}" if None in left else ""
        basis = f"at most: as many as each row's own parameters allow{others}"
    if local:
        at_once = min(job.limits.concurrency, SLOTS)
        short, latency_s, long = (at_once * tokens / rate for rate in LOCAL_TOKENS_PER_S)
        latency_basis = f"assumed: {LOCAL_TOKENS_PER_S[1]:.0f} tokens/s in all, no call has been seen"
    else:
        (short, long), latency_s = LATENCY_RANGE_S, ASSUMED_LATENCY_S
        latency_basis = f"assumed: {ASSUMED_LATENCY_S:g} s, no call has been seen"
    return Expectation(
        correction=correction,
        completion_tokens=tokens,
        latencies_s=(latency_s,),
        basis=ASSUMED,
        prompt_basis=prompt_basis,
        completion_basis=basis,
        latency_basis=latency_basis,
        latency_range_s=(short, long),
    )


__all__ = ["ASSUMED_LATENCY_S", "Caps", "Expectation", "expectations"]
