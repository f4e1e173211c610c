"""qfbatch from Python: load a job, plan it, run it, open its results. `import qfbatch` has all of it by name.

What stands here is what the commands do, without a terminal: the same environment and `.env`, the same run
directory, the same errors. Errors are exceptions with the exit code a command would end with (`errors`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import polars as pl

from qfbatch.checkpoint.manifest import Manifest, read_manifest
from qfbatch.checkpoint.place import RunPlace, run_place
from qfbatch.checkpoint.results import scan_results
from qfbatch.cluster.entrance import run_on_cluster
from qfbatch.errors import UsageError
from qfbatch.flow import runner
from qfbatch.flow.session import RunOptions, RunResult
from qfbatch.flow.signals import press_on_signals
from qfbatch.flow.stopping import StopButton
from qfbatch.job import load
from qfbatch.job.environment import environment
from qfbatch.job.settings import Job, ModelSettings
from qfbatch.planning import planner as planning
from qfbatch.planning.plans import Plan
from qfbatch.pricing import Price
from qfbatch.progress.events import Event, Observer
from qfbatch.reporting.report import json_columns
from qfbatch.scoring.evaluation import Evaluation, evaluation_in, evaluation_of
from qfbatch.scoring.scored import evaluate, with_scores
from qfbatch.scoring.scores import Scores
from qfbatch.storage.access import StorageAccess
from qfbatch.storage.address import parse_path

Prices: TypeAlias = Mapping[str, Price] | Callable[[ModelSettings], Price | None]


def load_job(
    path: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    prices: Prices | None = None,
    environ: Mapping[str, str] | None = None,
) -> Job:
    """Read a job file.

    Args:
        path: the job file; paths in it are relative to the working directory.
        overrides: values by dotted path that replace the file's, as `--set` does: `{"limits.qps": 2}`.
        prices: prices that replace the models' in the file (not an endpoint's own): by model name, or what is
            called for each model and may answer None to leave the file's. A subclass of `Price` may work out
            costs in its own way.
        environ: what `${NAME}`, the default address and later credentials are read from; by default the
            process's environment over the `.env` of the working directory.

    Raises:
        JobFileError: anything is wrong with the file, an override or a price, a price for a model that the
            job does not have included; with all problems at once.
        UsageError: `.env` cannot be read.
    """
    path = Path(path)
    environ = _environment() if environ is None else environ
    wanted = [f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items()]
    if prices is None:
        return load.load_job(path, environ=environ, overrides=wanted)
    table = prices if isinstance(prices, Mapping) else _asked(prices, path, environ, wanted)
    wanted += [f"models.{name}.price={json.dumps(_fields(price))}" for name, price in table.items()]
    job = load.load_job(path, environ=environ, overrides=wanted)
    models = (dataclasses.replace(m, price=table.get(m.name, m.price)) for m in job.models)
    return dataclasses.replace(job, models=tuple(models))


def plan(job: Job, *, limit: int | None = None, retry_failed: bool = False) -> Plan:
    """What a run would do, cost and take; makes no call and changes nothing.

    Args:
        job: the job.
        limit: only the first so many rows of the input.
        retry_failed: failed rows are asked again.

    Raises:
        InputError: the input is wrong.
        RunDirectoryError: the run directory cannot be read.
    """
    return planning.plan_job(job, RunOptions(limit=limit, retry_failed=retry_failed))


def run(
    job: Job,
    *,
    observe: Observer | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
    accept_input_change: bool = False,
    grace_s: float = 30.0,
    check: bool = True,
    ray: str | None = None,
    ray_nodes: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> RunResult:
    """Run a job, or resume it; returns when it has ended.

    On the main thread Ctrl-C and SIGTERM end a run in an orderly way, as on the command line. Where an event
    loop is running already, as in a notebook, the run has a thread of its own and this one waits for it.

    Args:
        job: the job.
        observe: takes what happens, on the run's own thread.
        fresh: start again; the run directory there is set aside, nothing is deleted.
        retry_failed: ask failed rows again.
        limit: only the first so many rows of the input.
        accept_input_change: go on although the input changed; answers of unchanged rows are kept.
        grace_s: how long calls on their way may take after an interruption, seconds.
        check: raise what ended the run early; else it is `reason` of the result. Failed rows raise nothing.
        ray: the Ray cluster to run on: `HOST:PORT`, `auto`, or `local` for one on this machine.
        ray_nodes: how many processes work there; None takes one for each machine of the cluster.
        environ: where credentials, proxies and certificates are found; by default as for `load_job`.

    Raises:
        InputError: the input is wrong, found before the first call.
        RunDirectoryError: the run directory cannot be used.
        UsageError: the Ray cluster cannot be reached, or there is no Ray.
        ClusterLost: the machines of the cluster are gone.
        ServiceRefused: there are no credentials, or the service refuses the job.
        BudgetReached: the job's budget is used up.
        Interrupted: by a signal. What was answered before any of the last four is kept.
    """
    options = RunOptions(fresh, retry_failed, limit, accept_input_change, grace_s)
    button = StopButton()
    start = _start(job, options, observe, environ, cluster=(ray, ray_nodes), button=button)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _checked(start(), check=check)
    return _checked(_in_thread(start, button), check=check)


async def run_async(
    job: Job,
    *,
    observe: Observer | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
    accept_input_change: bool = False,
    grace_s: float = 30.0,
    check: bool = True,
    ray: str | None = None,
    ray_nodes: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> RunResult:
    """`run` without holding up the running event loop: the run has a thread and a loop of its own.

    Cancelling the task ends the run in an orderly way, as Ctrl-C does: calls on their way are waited for
    `grace_s` seconds and kept, then the task is cancelled. Arguments and errors are those of `run`.
    """
    options = RunOptions(fresh, retry_failed, limit, accept_input_change, grace_s)
    button = StopButton()
    start = _start(job, options, observe, environ, cluster=(ray, ray_nodes), button=button)
    running = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        result = await asyncio.shield(running)
    except asyncio.CancelledError:
        button.press()
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                button.press()
        raise
    return _checked(result, check=check)


def open_results(target: Job | str | Path, *, scores: bool = False) -> pl.LazyFrame:
    """All rows answered so far, each row and model once, also while another process runs the job.

    Args:
        target: the job, or its run directory.
        scores: with a column `score_<name>` for each of the job's scorers, as `score_run` judges.

    Returns:
        A frame with the columns of the results; without rows where there are none yet.

    Raises:
        UsageError: there is no run, or a scorer cannot be used.
        RunDirectoryError: the run directory cannot be read.
    """
    place, manifest = _run_of(target)
    results = scan_results(place)
    if not scores:
        return results
    judged = _evaluation(target, manifest)
    return with_scores(results, judged.scorers, json_columns=json_columns(manifest))


def score_run(target: Job | str | Path, *, by: Sequence[str] = ()) -> Scores:
    """What the job's scorers (`evaluation`) make of the rows answered so far.

    Args:
        target: the job, judged as it says now; or a run directory, judged as its last start said, without own
            scorers, which are code: they are named in `not_run`.
        by: columns to group by as well: carried ones or those of the results.

    Returns:
        Means with intervals by model and group, and models against each other; without any of them where the
        job asks for no scores.

    Raises:
        UsageError: there is no run, no such column, or a scorer cannot be used.
        RunDirectoryError: the run directory cannot be read.
    """
    place, manifest = _run_of(target)
    judged = _evaluation(target, manifest)
    if not judged.scorers:
        return Scores(scorers=(), by=tuple(by), not_run=judged.not_run)
    found = evaluate(scan_results(place), judged.scorers, by=by, json_columns=json_columns(manifest))
    return msgspec.structs.replace(found, not_run=judged.not_run)


def _evaluation(target: Job | str | Path, manifest: Manifest) -> Evaluation:
    return evaluation_of(target) if isinstance(target, Job) else evaluation_in(manifest.job)


def _run_of(target: Job | str | Path) -> tuple[RunPlace, Manifest]:
    if isinstance(target, Job):
        place = run_place(target.output_path, target.access)
    else:
        path = parse_path(target) if isinstance(target, str) else target
        place = run_place(path, StorageAccess(_environment()))
    manifest = read_manifest(place)
    if manifest is None:
        raise UsageError(f"{place}: there is no run.", hint="Run the job first: qfbatch.run(job).")
    return place, manifest


def _environment() -> dict[str, str]:
    return environment(Path.cwd(), os.environ)


def _asked(
    prices: Callable[[ModelSettings], Price | None],
    path: Path,
    environ: Mapping[str, str],
    overrides: Sequence[str],
) -> dict[str, Price]:
    """The price of each model as `prices` has it; a budget of cost, which needs prices, is left for later."""
    job = load.load_job(path, environ=environ, overrides=[*overrides, "budget=null"])
    found = {model.name: prices(model) for model in job.models}
    return {name: price for name, price in found.items() if price is not None}


def _fields(price: Price) -> dict[str, Any]:
    """A price as the job file states it, so that it is checked like one."""
    fields = {field.name: getattr(price, field.name) for field in dataclasses.fields(Price)}
    return fields if price.unit_hour is not None else {k: v for k, v in fields.items() if k != "units"}


def _start(
    job: Job,
    options: RunOptions,
    observe: Observer | None,
    environ: Mapping[str, str] | None,
    *,
    cluster: tuple[str | None, int | None],
    button: StopButton,
) -> Callable[[], RunResult]:
    environ = _environment() if environ is None else environ
    observe = observe or _unobserved
    address, nodes = cluster
    if address is None:
        if nodes is not None:
            raise UsageError("ray_nodes goes with ray", hint="Add ray='HOST:PORT', or ray='local'.")
        return partial(runner.run_job, job, options, environ=environ, observe=observe, button=button)
    return partial(
        run_on_cluster,
        job,
        options,
        address=address,
        nodes=nodes,
        environ=environ,
        observe=observe,
        button=button,
    )


def _unobserved(_event: Event, /) -> None:
    return


def _in_thread(start: Callable[[], RunResult], button: StopButton) -> RunResult:
    """Run in a thread and wait for it; signals meanwhile end the run in an orderly way."""
    ended: list[RunResult | BaseException] = []

    def target() -> None:
        """Keep what the run came to, an exception too: a thread would lose both."""
        try:
            ended.append(start())
        except BaseException as error:  # noqa: BLE001 - handed on to the thread that waits
            ended.append(error)

    thread = threading.Thread(target=target, name="qfbatch-run")
    with press_on_signals(button):
        thread.start()
        thread.join()
    (outcome,) = ended
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _checked(result: RunResult, *, check: bool) -> RunResult:
    if check and result.reason is not None:
        raise result.reason
    return result
