"""The pages of docs/reference/, made from the code: `make docs` writes, tests/test_reference.py compares.

Each module makes one page and takes its words from where the code has them: click's help, pydantic's
descriptions, docstrings. What the code does not say (what a variable of the environment is for) stands beside
the name in the module, and a name without its words is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reference import commands, environment, errors, events, job_file, results

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
NOTICE = "<!-- Made from the code by `make docs`: change the code, not this page. -->"

# File → its title, what it holds in a phrase, and what makes its text below the title.
PAGES: dict[str, tuple[str, str, Callable[[], str]]] = {
    "commands.md": ("Commands", "every command and option, and the make targets", commands.page),
    "job-file.md": ("Job file", "every key with its type, range and default", job_file.page),
    "results.md": ("Results", "the columns of the results, and of what an input may hold", results.page),
    "errors.md": ("Errors and exit codes", "exit codes, kinds of failures, the services' codes", errors.page),
    "environment.md": ("Environment", "every variable that is read", environment.page),
    "events.md": ("Events", "what observers are told while a run goes on", events.page),
}


def pages() -> dict[str, str]:
    """File name in docs/reference → its whole text."""
    made = {name: f"{NOTICE}\n\n# {title}\n\n{body().strip()}\n" for name, (title, _, body) in PAGES.items()}
    lines = [f"- [{title}]({name}): {holds}" for name, (title, holds, _) in PAGES.items()]
    made["README.md"] = (
        f"{NOTICE}\n\n# Reference\n\n"
        "Made from the code, and compared with it by a test. What is meant and why stands in the pages of "
        "[docs](../README.md).\n\n" + "\n".join(lines) + "\n"
    )
    return made
