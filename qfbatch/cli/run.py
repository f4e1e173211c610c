"""`qfbatch run`: run a job, or resume it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from qfbatch.cli.garbage import loading
from qfbatch.cli.job_options import job_argument, load
from qfbatch.cli.light_start import OWN_PROCESS, without_numpy, without_pandas
from qfbatch.cli.talk import use_json
from qfbatch.errors import UsageError
from qfbatch.job.settings import Job
from qfbatch.service.dialects import DIALECTS

RETRY_FAILED = "--retry-failed"
_RUNNING = "qfbatch.cli.running"  # Arrow, sockets and all: what may stay away depends on the job


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
    line = _command_line(job_file, overrides, concurrency, limit=limit)
    line += [] if ray_address is None else ["--ray", ray_address]
    line += [] if ray_nodes is None else ["--ray-nodes", str(ray_nodes)]
    with loading():
        if ctx.obj == OWN_PROCESS and ray_address is None and _runs_no_foreign_code(job):
            without_numpy()
        running = importlib.import_module(_RUNNING)
        without_pandas()
    code = running.run(
        job,
        environ,
        running.RunOptions(
            fresh=fresh,
            retry_failed=retry_failed,
            limit=limit,
            accept_input_change=accept_input_change,
            grace_s=grace,
        ),
        running.WatchOptions(
            quiet=quiet,
            no_progress=no_progress,
            as_json=log_format == "json",
            metrics_port=metrics_port,
            metrics_address=metrics_address,
            otel=otel,
        ),
        ray=(ray_address, ray_nodes),
        resume_with=[*line, RETRY_FAILED] if retry_failed else line,
        retry_with=[*line, RETRY_FAILED],
    )
    ctx.exit(code)


def _runs_no_foreign_code(job: Job) -> bool:
    """Whether a run of this job needs no scorer, for some bring libraries, and no installed dialect."""
    return not job.evaluation and all(service.api in DIALECTS for service in job.services)


def _command_line(
    job_file: Path,
    overrides: Sequence[str],
    concurrency: int | None,
    *,
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
    return line
