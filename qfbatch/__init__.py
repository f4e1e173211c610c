"""qfbatch: a batch runner for text-completion endpoints.

The command line is the product; the same things can be had from Python (docs/python.md):

    import qfbatch

    job = qfbatch.load_job("jobs/eval.yaml")
    print(qfbatch.plan(job).tokens)
    qfbatch.run(job, observe=print)
    print(qfbatch.open_results(job).collect())

Importing this package imports nothing else: a name is looked up when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qfbatch._version import __version__

if TYPE_CHECKING:
    from qfbatch.errors import (
        BudgetReached,
        ClusterLost,
        InputError,
        Interrupted,
        JobFileError,
        QfbatchError,
        RunDirectoryError,
        ServiceRefused,
        UsageError,
    )
    from qfbatch.flow.session import RunResult
    from qfbatch.interface import load_job, open_results, plan, run, run_async, score_run
    from qfbatch.job.settings import Job, ModelSettings
    from qfbatch.planning.plans import ModelPlan, Plan
    from qfbatch.pricing import Price
    from qfbatch.progress.events import (
        AttemptFailed,
        Event,
        Observer,
        Pulse,
        RowsCommitted,
        RunEnded,
        RunStarted,
        ShardClosed,
        Throttled,
    )
    from qfbatch.records import Record, Status
    from qfbatch.scoring.scores import Score, Scores

_HOMES = {
    "qfbatch.errors": (
        "BudgetReached",
        "ClusterLost",
        "InputError",
        "Interrupted",
        "JobFileError",
        "QfbatchError",
        "RunDirectoryError",
        "ServiceRefused",
        "UsageError",
    ),
    "qfbatch.interface": ("load_job", "open_results", "plan", "run", "run_async", "score_run"),
    "qfbatch.job.settings": ("Job", "ModelSettings"),
    "qfbatch.planning.plans": ("ModelPlan", "Plan"),
    "qfbatch.pricing": ("Price",),
    "qfbatch.progress.events": (
        "AttemptFailed",
        "Event",
        "Observer",
        "Pulse",
        "RowsCommitted",
        "RunEnded",
        "RunStarted",
        "ShardClosed",
        "Throttled",
    ),
    "qfbatch.records": ("Record", "Status"),
    "qfbatch.scoring.scores": ("Score", "Scores"),
    "qfbatch.flow.session": ("RunResult",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AttemptFailed",
    "BudgetReached",
    "ClusterLost",
    "Event",
    "InputError",
    "Interrupted",
    "Job",
    "JobFileError",
    "ModelPlan",
    "ModelSettings",
    "Observer",
    "Plan",
    "Price",
    "Pulse",
    "QfbatchError",
    "Record",
    "RowsCommitted",
    "RunDirectoryError",
    "RunEnded",
    "RunResult",
    "RunStarted",
    "Score",
    "Scores",
    "ServiceRefused",
    "ShardClosed",
    "Status",
    "Throttled",
    "UsageError",
    "__version__",
    "load_job",
    "open_results",
    "plan",
    "run",
    "run_async",
    "score_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
