"""`qfbatch run`: run a job, or resume it."""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from qfbatch.checkpoint.manifest import read_manifest
from qfbatch.checkpoint.place import run_place
from qfbatch.cli.garbage import collect_seldom, loading
from qfbatch.cli.job_options import job_argument, load
from qfbatch.cli.talk import abandon_stdout, say, use_json
from qfbatch.cli.watchers import WatchOptions, watching
from qfbatch.cluster.entrance import run_on_cluster
from qfbatch.errors import UsageError
from qfbatch.flow.runner import RunResult, run_job
from qfbatch.flow.session import RunOptions
from qfbatch.job.settings import Job
from qfbatch.scoring.evaluation import Evaluation, evaluation_of
from qfbatch.wording import count, things

RETRY_FAILED = "--retry-failed"
_CLOSING_REPORT = "qfbatch.cli.closing_report"  # polars and tables: no call should have to wait for them


@click.command("run")
@job_argument
@click.option("--fresh", is_flag=True, help="Start again; the run directory there is set aside, not deleted.")
@click.option(RETRY_FAILED, is_flag=True, help="Ask the failed rows of the run again.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows of the input.")
@click.option(
    "--accept-input-change",
    is_flag=True,
    help="Go on although the input changed; answers of unchanged rows are kept.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long calls on their way may take after SIGINT or SIGTERM.",
)
@click.option(
    "--ray",
    "ray_address",
    metavar="ADDRESS",
    help="Run on the Ray cluster at HOST:PORT (or auto); local starts one here. Needs shared storage.",
)
@click.option(
    "--ray-nodes",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many processes work there; by default one on each machine of the cluster.",
)
@click.option("--quiet", is_flag=True, help="Say nothing but warnings and the end; no report.")
@click.option("--no-progress", is_flag=True, help="No progress bar; log lines instead.")
@click.option(
    "--log-format",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="How messages on stderr are written; json: an object a line.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Serve Prometheus metrics on this port while the run lasts; 0 takes a free one.",
)
@click.option("--metrics-address", default="127.0.0.1", show_default=True, help="Where that port listens.")
@click.option(
    "--otel/--no-otel",
    default=None,
    help="Send OpenTelemetry spans and metrics, or not; without, OTEL_* variables decide.",
)
@click.pass_context
def command(
    ctx: click.Context,
    job_file: Path,
    overrides: tuple[str, ...],
    concurrency: int | None,
    *,
    fresh: bool,
    retry_failed: bool,
    limit: int | None,
    accept_input_change: bool,
    grace: float,
    ray_address: str | None,
    ray_nodes: int | None,
    quiet: bool,
    no_progress: bool,
    log_format: str,
    metrics_port: int | None,
    metrics_address: str,
    otel: bool | None,
) -> None:
    """Run the job, or resume it: the same command after any interruption goes on where the run stopped.

    Progress and messages go to stderr. When all its rows have ended its report goes to stdout. A run that was
    complete before is not asked again: see `qfbatch report`.

    Exit codes: 0 every row succeeded; 1 complete, some rows failed; 2 usage or job file wrong; 3 input wrong;
    4 run directory unusable; 5 refused by the service; 6 budget reached; 130, 143 interrupted. After 4, 5, 6,
    130 and 143 the same command resumes.
    """
    if log_format == "json":
        use_json(partial(json.dumps, ensure_ascii=False))
    if ray_nodes is not None and ray_address is None:
        raise UsageError("--ray-nodes goes with --ray", hint="Add --ray ADDRESS, or --ray local.")
    job, environ = load(job_file, overrides, concurrency)
    evaluation = evaluation_of(job)  # before the first call: a scorer that cannot be used is found now
    options = RunOptions(
        fresh=fresh,
        retry_failed=retry_failed,
        limit=limit,
        accept_input_change=accept_input_change,
        grace_s=grace,
    )
    watch = WatchOptions(
        quiet=quiet,
        no_progress=no_progress,
        as_json=log_format == "json",
        metrics_port=metrics_port,
        metrics_address=metrics_address,
        otel=otel,
    )
    collect_seldom()
    with watching(job, watch) as observe:
        if ray_address is None:
            result = run_job(job, options, environ=environ, observe=observe)
        else:
            result = run_on_cluster(
                job, options, address=ray_address, nodes=ray_nodes, environ=environ, observe=observe
            )
    line = _command_line(job_file, overrides, concurrency, retry_failed=retry_failed, limit=limit)
    line += [] if ray_address is None else ["--ray", ray_address]
    line += [] if ray_nodes is None else ["--ray-nodes", str(ray_nodes)]
    _tell(line, job, result, limit)
    if result.asked and result.reason is None and not quiet:
        try:
            _report(job, evaluation)
        except BrokenPipeError:  # who read it has left; how the run ended still counts
            abandon_stdout()
    ctx.exit(result.exit_code)


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


def _tell(command_line: list[str], job: Job, result: RunResult, limit: int | None) -> None:
    """The end of the run on stderr: what is done, what is not, and the command that goes on."""
    counts = f"{count(result.succeeded)} succeeded, {count(result.failed)} failed"
    place = f"; answers are in {job.output_path}." if result.succeeded else "."
    if result.reason is not None:
        say(f"stopped: {result.reason.message.rstrip('.')}")
        say(f"{counts}, {count(result.left)} left{place}")
        if result.reason.hint:
            say(result.reason.hint)
        say(f"resume: {shlex.join(command_line)}")
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
        again = [argument for argument in command_line if argument != RETRY_FAILED]
        say(f"failed rows can be asked again: {shlex.join([*again, RETRY_FAILED])}")


def _leaves_rows_out(limit: int, job: Job) -> bool:
    manifest = read_manifest(run_place(job.output_path, job.access))
    return manifest is not None and limit < manifest.survey.rows


def _command_line(
    job_file: Path,
    overrides: Sequence[str],
    concurrency: int | None,
    *,
    retry_failed: bool,
    limit: int | None,
) -> list[str]:
    """The command that goes on with this run: with the options that say what is run, without the others."""
    line = ["qfbatch", "run", str(job_file)]
    for override in overrides:
        line += ["--set", override]
    if concurrency is not None:
        line += ["--concurrency", str(concurrency)]
    if limit is not None:
        line += ["--limit", str(limit)]
    return [*line, RETRY_FAILED] if retry_failed else line
