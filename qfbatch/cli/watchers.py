"""Who watches a run of the command line: the display, the run directory's files, metrics, traces."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from qfbatch.checkpoint.layout import RunLayout
from qfbatch.cli.talk import say
from qfbatch.errors import UsageError
from qfbatch.job.settings import Job
from qfbatch.progress.bar import ProgressBar
from qfbatch.progress.eventfile import EventFile
from qfbatch.progress.events import Observer, to_all
from qfbatch.progress.log import LogLines
from qfbatch.progress.statusfile import StatusFile
from qfbatch.progress.survey import SurveyProgress
from qfbatch.progress.uploading import Uploads
from qfbatch.storage.address import Address
from qfbatch.storage.opening import open_store

_ASKS_FOR_TELEMETRY = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What the command line says about watching.

    Attributes:
        quiet, no_progress: as options of `run`.
        as_json: log lines as JSON.
        metrics_port, metrics_address: where Prometheus may scrape; no port, no endpoint.
        otel: whether to send traces and metrics; None leaves it to the `OTEL_*` variables.
    """

    quiet: bool = False
    no_progress: bool = False
    as_json: bool = False
    metrics_port: int | None = None
    metrics_address: str = "127.0.0.1"
    otel: bool | None = None


@contextmanager
def watching(job: Job, options: WatchOptions) -> Iterator[Observer]:
    """One observer for all who watch, as long as the context lasts.

    Raises:
        UsageError: an extra is missing, or an endpoint cannot be opened.
    """
    observers = _files_and_display(job, options)
    metrics = telemetry = None
    if options.metrics_port is not None:
        extra = _extra("qfbatch.progress.metrics", "metrics", "--metrics-port")
        metrics = extra.MetricsEndpoint(options.metrics_port, options.metrics_address, time.time)
        observers.append(metrics)
        say(f"metrics: {metrics.url}")
    try:
        if _wants_telemetry(options.otel, os.environ):
            telemetry = _telemetry(job, demanded=bool(options.otel))
        if telemetry is not None:
            observers.append(telemetry)
        yield to_all(observers)
    finally:
        if metrics is not None:
            metrics.close()
        if telemetry is not None:
            trouble = telemetry.close()
            if trouble:
                say(f"OpenTelemetry: {trouble}", level="warning")


def _files_and_display(job: Job, options: WatchOptions) -> list[Observer]:
    observers: list[Observer]
    if isinstance(job.output_path, Address):
        observers = [Uploads(open_store(job.output_path, job.access), time.time)]
    else:
        layout = RunLayout(job.output_path)
        observers = [EventFile(layout.events, time.time), StatusFile(layout.status, time.time)]
    if sys.stderr.isatty() and not (options.quiet or options.no_progress or options.as_json):
        return [*observers, SurveyProgress(), ProgressBar()]
    return [*observers, LogLines(time.time, as_json=options.as_json, progress=not options.quiet)]


def _wants_telemetry(asked: bool | None, environ: Mapping[str, str]) -> bool:  # noqa: FBT001 - three-valued
    if asked is not None:
        return asked
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return any(environ.get(name) not in {None, "", "none"} for name in _ASKS_FOR_TELEMETRY)


def _telemetry(job: Job, *, demanded: bool) -> Any:
    try:
        extra = _extra("qfbatch.progress.tracing", "otel", "--otel")
    except UsageError as error:
        if demanded:
            raise
        say(f"OTEL_* variables are set, but no telemetry is sent: {error.hint}", level="warning")
        return None
    return extra.Telemetry(job, os.environ, time.time)


def _extra(module: str, extra: str, option: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{option} needs the package {error.name}", hint=f"Install it: pip install 'qfbatch[{extra}]'"
        ) from error
