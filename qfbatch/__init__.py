"""qfbatch: a batch runner for text-completion endpoints.

The command line is the product; the same things can be had from Python:

    from pathlib import Path
    from qfbatch.job.load import load_job
    from qfbatch.runner import RunOptions, run_job

    job = load_job(Path("jobs/eval.yaml"), environ={})
    result = run_job(job, RunOptions(), environ={}, observe=print)

Importing this package imports nothing else.
"""

from qfbatch._version import __version__

__all__ = ["__version__"]
