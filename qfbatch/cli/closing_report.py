"""The report that a run ends with."""

from __future__ import annotations

from qfbatch.cli.report import print_report, tell_scoring
from qfbatch.cli.talk import say
from qfbatch.cli.target import open_run
from qfbatch.errors import UsageError
from qfbatch.job.settings import Job
from qfbatch.scoring.evaluation import UNSCORED, Evaluation


def print_closing_report(job: Job, evaluation: Evaluation) -> None:
    """Report on a job's run to stdout; what is wrong with its scores takes nothing away from the run.

    Args:
        job: the job.
        evaluation: what judges the answers, as it was found before the first call.

    Raises:
        StorageError: results cannot be read.
    """
    run = open_run(str(job.output_path))
    try:
        sections = print_report([run], [evaluation])
    except UsageError as error:
        say(f"not scored: {error.message}. {error.hint}", level="warning")
        sections = print_report([run], [UNSCORED])
    for section in sections:
        tell_scoring(section)


__all__ = ["print_closing_report"]
