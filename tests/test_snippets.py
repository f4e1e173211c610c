"""What the documentation shows is what there is: its job files load, its commands and options exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from documents import ROOT
from reference.commands import command_named, make_targets

from qfbatch.cli.main import COMMANDS
from qfbatch.job.load import load_job

PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "sample_data").glob("*.md")]
    if page.name != "CHANGELOG.md"  # tells what was, too
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(?:\$ )?((?:qfbatch|make) [^`\n]+)`")
# What a snippet leaves out.
BASE: dict[str, Any] = {
    "name": "snippet",
    "input": {"path": "prompts.jsonl", "prompt": "prompt"},
    "models": [{"name": "m", "endpoint": "e"}],
}
WAYS = {"prompt", "template", "messages"}
# Blocks of YAML that are no jobs, by how they begin, and a job for a package that is not installed.
OTHERS = ("# .github/workflows/", "service: {api: acme,")
# What may end a command in a shell, and what only documents one.
END_OF_COMMAND = re.compile(r"\s(?:\||&&?|>>?|2>|\|\|)(?:\s|$)")


def jobs() -> Iterator[Any]:
    """Every snippet of a job, in YAML blocks and in files that shell blocks write."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for number, (language, code) in enumerate(BLOCK.findall(text)):
            found = re.findall(r"^cat > \S+\.yaml <<'END'\n(.*?)^END$", code, re.MULTILINE | re.DOTALL)
            for job in [code] if language == "yaml" else found:
                if not job.startswith(OTHERS):
                    yield pytest.param(job, id=f"{page.relative_to(ROOT)}-{number}")


def commands() -> Iterator[Any]:
    """Every command of qfbatch and make in shell blocks and between backticks."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shell = "\n".join(code for language, code in BLOCK.findall(text) if language in {"sh", ""})
        lines = re.findall(
            r"^(?: {4})?(?:nohup )?((?:qfbatch|make) .*)", shell.replace("\\\n", " "), re.MULTILINE
        )
        for command in dict.fromkeys([*lines, *INLINE.findall(text)]):
            yield pytest.param(command, id=f"{page.relative_to(ROOT)}: {command}")


@pytest.mark.parametrize("snippet", list(jobs()))
def test_a_job_of_the_documentation_loads(tmp_path: Path, snippet: str) -> None:
    """Each snippet of a job is accepted, with what it leaves out filled in."""
    shown = yaml.safe_load(snippet)
    job = {**BASE, **shown}
    job["input"] = {"path": BASE["input"]["path"], **job["input"]}
    if WAYS.isdisjoint(job["input"]):
        job["input"]["prompt"] = "prompt"
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job, allow_unicode=True), encoding="utf-8")
    named = dict.fromkeys(re.findall(r"\$\{(\w+)\}", snippet), "value")
    assert load_job(path, environ=named).name == job["name"]


@pytest.mark.parametrize("line", list(commands()))
def test_a_command_of_the_documentation_exists(line: str) -> None:
    """Each command is one, each option one of its own, and each value of a choice is offered."""
    line = END_OF_COMMAND.split(line.partition("  #")[0])[0]
    program, name, *words = shlex.split(line.replace("…", ""))
    if program == "make":
        names = [word for word in (name, *words) if "=" not in word]
        assert set(names) <= {*make_targets(), ".venv/.dev", ".venv/.local"}
        return
    if name in {"COMMAND", "--help", "--version"}:
        return
    assert name in COMMANDS
    options = {
        opt: option for option in command_named(name).params for opt in [*option.opts, *option.secondary_opts]
    }
    for position, word in enumerate(words):
        option, _, value = word.strip("[]").partition("=")
        if not re.match(r"--?[a-z]", option) or option in {"-h", "--help"}:
            continue
        assert option in options
        value = value or " ".join(words[position + 1 : position + 2]).strip("[]")
        kind = options[option].type
        if isinstance(kind, click.Choice) and re.fullmatch("[a-z]+", value):
            assert value in kind.choices
