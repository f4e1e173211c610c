"""`qfbatch run` once its job is known: the run with its watchers, how it ended, its report."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Mapping, Sequence

from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.checkpoint.place import run_place
from qfbatch.cli.garbage import collect_seldom, loading
from qfbatch.cli.talk import abandon_stdout, say
from qfbatch.cli.watchers import WatchOptions, watching
from qfbatch.cluster.entrance import run_on_cluster
from qfbatch.flow.runner import RunResult, run_job
from qfbatch.flow.session import RunOptions
from qfbatch.job.settings import Job
from qfbatch.scoring.evaluation import Evaluation, evaluation_of
from qfbatch.wording import count, things

_CLOSING_REPORT = "qfbatch.cli.closing_report"  # polars and tables: no call should have to wait for them


def run(
    job: Job,
    environ: Mapping[str, str],
    options: RunOptions,
    watch: WatchOptions,
    *,
    ray: tuple[str | None, int | None],
    resume_with: Sequence[str],
    retry_with: Sequence[str],
) -> int:
    """Run the job and tell how it ended; returns the exit code.

    Args:
        job: the job.
        environ: where credentials, proxies and certificates are found.
        options: of this session.
        watch: what is shown and sent of it.
        ray: the Ray cluster to run on and how many processes work there; None and None for none.
        resume_with: the command that goes on with this run.
        retry_with: the command that asks its failed rows again.

    Raises:
        QfbatchError: what ended the run before it began; see `flow.runner.run_job`.
    """
    evaluation = evaluation_of(job)  # before the first call: a scorer that cannot be used is found now
    address, nodes = ray
    collect_seldom()
    with watching(job, watch) as observe:
        if address is None:
            result = run_job(job, options, environ=environ, observe=observe)
        else:
            result = run_on_cluster(
                job, options, address=address, nodes=nodes, environ=environ, observe=observe
            )
    _tell(job, result, options.limit, resume_with=resume_with, retry_with=retry_with)
    if result.asked and result.reason is None and not watch.quiet:
        try:
            _report(job, evaluation)
        except BrokenPipeError:  # who read it has left; how the run ended still counts
            abandon_stdout()
    return result.exit_code


def _report(job: Job, evaluation: Evaluation) -> None:
    """Print the run's report, loading what that needs."""
    try:
        with loading():
            closing_report = importlib.import_module(_CLOSING_REPORT)
    except ImportError as error:
        directory = shlex.quote(str(job.output_path))
        say(
            f"no report: the installation changed while the run lasted ({error}). "
            f"See it with: qfbatch report {directory}",
            level="warning",
        )
        return
    closing_report.print_closing_report(job, evaluation)


def _tell(
    job: Job, result: RunResult, limit: int | None, *, resume_with: Sequence[str], retry_with: Sequence[str]
) -> None:
    """The end of the run on stderr: what is done, what is not, and the command that goes on."""
    counts = f"{count(result.succeeded)} succeeded, {count(result.failed)} failed"
    place = f"; answers are in {job.output_path}." if result.succeeded else "."
    if result.reason is not None:
        say(f"stopped: {result.reason.message.rstrip('.')}")
        say(f"{counts}, {count(result.left)} left{place}")
        if result.reason.hint:
            say(result.reason.hint)
        say(f"resume: {shlex.join(resume_with)}")
        return
    if limit is not None and _leaves_rows_out(limit, job):
        done = (
            f"the first {things(limit, 'row')} {'is' if limit == 1 else 'are'} done; in all {counts}{place}"
        )
    elif result.asked == 0:
        done = f"{job.output_path} is complete: {counts}."
    else:
        done = f"complete: {counts}{place}"
    say(done if result.asked else f"{done} No call was made.")
    if not result.asked and result.failed + result.succeeded:
        say(f"what it came to: {shlex.join(['qfbatch', 'report', str(job.output_path)])}")
    if result.failed:
        say(f"failed rows can be asked again: {shlex.join(retry_with)}")


def _leaves_rows_out(limit: int, job: Job) -> bool:
    manifest = read_manifest(run_place(job.output_path, job.access))
    return manifest is not None and limit < manifest.survey.rows


__all__ = ["RunOptions", "WatchOptions", "run"]
