"""The way to `driver` for everybody who may be without Ray: it is imported when a run asks for a cluster."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from qfbatch.errors import UsageError
from qfbatch.flow.session import RunOptions, RunResult
from qfbatch.flow.stopping import StopButton
from qfbatch.job.settings import Job
from qfbatch.progress.events import Observer


def run_on_cluster(
    job: Job,
    options: RunOptions,
    *,
    address: str,
    nodes: int | None,
    environ: Mapping[str, str],
    observe: Observer,
    button: StopButton | None = None,
) -> RunResult:
    """Run a job, or resume it, on a Ray cluster; arguments and errors are those of `driver.run_on_cluster`.

    Raises:
        UsageError: the package ray is not installed.
    """
    try:
        driver = importlib.import_module("qfbatch.cluster.driver")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise UsageError(
            "--ray needs the package ray",
            hint="Install it here and on every machine: pip install 'qfbatch[ray]'",
        ) from None
    result: RunResult = driver.run_on_cluster(
        job, options, address=address, nodes=nodes, environ=environ, observe=observe, button=button
    )
    return result


__all__ = ["run_on_cluster"]
