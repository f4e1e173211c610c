"""The architecture, held: floors, imports, third-party packages, sizes, names, docstrings.

A module stands on a floor and imports only from its own floor or below; nowhere do imports run in a circle.
Where a new module does not fit the table, think first: most often it does two things.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from click.testing import CliRunner

from qfbatch.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "qfbatch"

# A name stands for a module, or for a package with all its modules; the longest name that fits decides.
FLOORS: dict[int, tuple[str, ...]] = {
    # Words: what everybody speaks of. They know nobody.
    0: ("errors", "records", "wording", "_version"),
    # Decisions: given values in, values out; no file, no socket, no clock of their own.
    1: (
        "allowances",
        "breaker",
        "budget",
        "fingerprint",
        "job.settings",  # the frozen job is a value that decisions read; how it is loaded is an edge
        "limits",
        "outlook",
        "planning",
        "pricing",
        "prompts",
        "reporting",
        "retry",
        "schema",
        "scoring",
        "service",
        "shards",
        "similarity",
        "storage.access",
        "storage.address",
        "tally",
        "template",
        "tokens",
    ),
    # Edges: each translates between values and one part of the world: files, network, terminal, environment.
    2: (
        "checkpoint",
        "credentials",
        "job",
        "scoring.own_scorers",
        "progress",
        "reader",
        "render",
        "storage",
        "transport",
    ),
    # Flow: what happens when.
    3: (
        "checking",
        "flow",
        "cluster",
        "scoring.evaluation",
        "planning.expecting",
        "planning.planner",
        "planning.predicting",
        "render.status_text",  # shows a status, likewise
        "reporting.report",
        "render.plan_text",  # shows a plan, which is a value of this floor
        "server",
        "status",
    ),
    # Front: what is called from outside.
    4: ("", "__main__", "cli", "interface"),
}

# Every third-party package and who may import it. A package that is everywhere cannot be replaced.
THIRD_PARTY: dict[str, tuple[str, ...]] = {
    "click": ("cli",),
    "dotenv": ("job.environment",),
    "obstore": ("storage.s3",),
    "polars": (
        "checkpoint.results",  # opens a run's parts and journals as one lazy frame
        "cli.export",  # streams that frame into a file
        "reporting.comparison",  # joins two frames
        "reporting.counts",
        "reporting.distributions",
        "interface",  # hands that frame to Python
        "planning.planner",  # what the rows already answered tell of the others
        "flow.rehoming",  # a run's answers, looked up by what was asked
        "reporting.report",  # hands that frame to what works it out
        "reporting.selection",
        "scoring.contrast",  # two sides' scores, row by row
        "scoring.scored",
        "reporting.summary",
        "reporting.superseded",  # what is there and not here
    ),
    "pyarrow": (
        "checkpoint.answers",  # what reading a shard gives
        "checkpoint.log_checkpoint",  # rows on their way into parts
        "checkpoint.log_reading",  # and out of them
        "checkpoint.parts",  # a finished shard becomes a Parquet file
        "checkpoint.answered",
        "cli.init",  # looks at the columns of a Parquet file to write a job for it
        "cli.light_start",  # keeps it from loading pandas
        "reader.arrow_values",
        "reader.parquet",
        "flow.following",  # hands them on
        "flow.rehoming",  # moves rows from old parts into new ones
        "schema",
    ),
    "pydantic": ("job.document", "job.load", "job.messages", "job.scorer_section", "job.strict"),
    "pydantic_core": ("job.messages",),  # the type of error details, which pydantic itself does not export
    "httptools": ("transport.http1",),
    "pyreqwest": ("transport.reqwest",),
    "rapidfuzz": ("similarity.edit",),
    "ray": (
        "cluster.engine",
        "cluster.limiter_actor",  # asks whether it was there before; imported alone where the limiter runs
    ),
    "rich": ("render.table",),
    "sacrebleu": ("similarity.chrf",),
    "starlette": ("server",),
    "tenacity": ("retry",),
    "tqdm": ("progress.bar", "progress.survey"),
    "uvicorn": ("server.connection", "server.runtime"),
    "uvloop": ("flow.eventloop",),
    "xllamacpp": ("server.llama",),
    "yaml": ("job.starter", "job.yaml_lines"),
    "zstandard": ("cli.init", "reader.bytestream"),
    # Fast frozen values and JSON: the language of all floors, hence allowed anywhere.
    "msgspec": ("",),
    "opentelemetry": ("progress.tracing",),
    "prometheus_client": ("progress.metrics",),
    "jinja2": ("render.html.page",),
    "markupsafe": ("render.html.page",),  # jinja2's own: the type of text that needs no escaping any more
    "vl_convert": ("render.html.drawing",),
}
# What must not be needed where it is not asked for, each with the package whose modules may reach it.
OPTIONAL = {
    "jinja2": "render.html",
    "opentelemetry": "progress.tracing",
    "prometheus_client": "progress.metrics",
    "markupsafe": "render.html",
    "obstore": "storage.s3",
    "ray": "cluster",
    "rapidfuzz": "similarity",
    "sacrebleu": "similarity",
    "starlette": "server",
    "uvicorn": "server",
    "vl_convert": "render.html",
    "xllamacpp": "server",
}
LAZY_IMPORTERS = {
    "qfbatch": "a name of the Python API is looked up when used",
    "qfbatch.cli.main": "a command is loaded only when called",
    "qfbatch.cli.page": "extras",
    "qfbatch.cli.run": "the report: no call waits for what it needs",
    "qfbatch.cluster.entrance": "extra",
    "qfbatch.cli.serve": "extras",
    "qfbatch.cli.target": "a job file's reader is of no use to who names a run directory",
    "qfbatch.cli.watchers": "extras",
    "qfbatch.flow.resuming": "what an input that changed needs, which few have",
    "qfbatch.storage.opening": "extra",
    "qfbatch.reader.columnar": "Arrow's functions, for Parquet alone",
    "qfbatch.scoring.own_scorers": "a job's own functions, where it names some",
    "qfbatch.scoring.scorers": "extras",
    "qfbatch.service.installed": "a package's dialect is loaded only when a job names it",
}

HEAVY = {
    "asyncio",
    "obstore",
    "polars",
    "pyarrow",
    "pydantic",
    "pyreqwest",
    "ray",
    "rich",
    "starlette",
    "tqdm",
    "uvloop",
}
LINES = 400
EMPTY_NAMES = {"base", "common", "handler", "helper", "helpers", "manager", "misc", "util", "utils"}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES: dict[str, ast.Module] = {
    _name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
}
TEST_FILES = sorted((ROOT / "tests").rglob("test_*.py"))


def _imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every imported module by its full name, with the statement that imports it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found = [f"{module}.{alias.name}" for alias in node.names]
            submodules = [name for name in found if name in MODULES]
            if len(submodules) < len(found):
                yield node, module
            for name in submodules:
                yield node, name


def _matches(module: str, name: str) -> bool:
    """Whether `name` (relative to the package; empty for the package itself) covers the module."""
    full = f"qfbatch.{name}".removesuffix(".")
    return module == full or module.startswith(f"{full}.")


def _floor(module: str) -> int | None:
    fitting = [
        (len(name), floor)
        for floor, names in FLOORS.items()
        for name in names
        if (_matches(module, name) if name else module == "qfbatch")
    ]
    return max(fitting)[1] if fitting else None


def _own_imports(module: str) -> set[str]:
    return {name for _, name in _imports(MODULES[module]) if name in MODULES}


def test_every_module_has_a_floor() -> None:
    """Each module is in the table of floors, and the table names nothing that is gone."""
    assert [module for module in MODULES if _floor(module) is None] == []
    names = [name for names in FLOORS.values() for name in names]
    assert [name for name in names if not any(_matches(module, name) for module in MODULES)] == []


def test_imports_go_down() -> None:
    """A module imports from its own floor or from those below."""
    upward = [
        f"{module} (floor {_floor(module)}) imports {name} (floor {_floor(name)})"
        for module in MODULES
        for name in sorted(_own_imports(module))
        if (_floor(module) or 0) < (_floor(name) or 0)
    ]
    assert upward == []


def test_no_circles() -> None:
    """No module imports itself by way of others."""
    order = list(TopologicalSorter({module: _own_imports(module) for module in MODULES}).static_order())
    assert sorted(order) == sorted(MODULES)


def test_imports_stand_at_the_top() -> None:
    """No import hides in a function or a class: what a module needs is read at its top."""
    hidden = [
        f"{module}:{statement.lineno} imports {name} inside {scope.name}"
        for module, tree in MODULES.items()
        for scope in ast.walk(tree)
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for statement, name in _imports(scope)
    ]
    assert hidden == []


def test_lazy_imports_are_named() -> None:
    """Modules are imported by name at run time only where that is the point."""
    lazy = {
        module
        for module, tree in MODULES.items()
        if any(name.split(".")[0] == "importlib" for _, name in _imports(tree))
    }
    assert sorted(lazy) == sorted(LAZY_IMPORTERS)


def test_third_party_packages_have_their_places() -> None:
    """A third-party package is imported in the modules named for it, and every name is used."""
    known = sys.stdlib_module_names | {"qfbatch"}
    used = {
        (name.split(".")[0], module)
        for module, tree in MODULES.items()
        for _, name in _imports(tree)
        if name.split(".")[0] not in known
    }
    misplaced = [
        f"{module} imports {package}"
        for package, module in sorted(used)
        if not any(_matches(module, place) for place in THIRD_PARTY.get(package, ()))
    ]
    assert misplaced == []
    unused = [
        f"{place} does not import {package}"
        for package, places in THIRD_PARTY.items()
        for place in places
        if not any(package == name and _matches(module, place) for name, module in used)
    ]
    assert unused == []


@pytest.mark.parametrize("home", sorted(set(OPTIONAL.values())))
def test_optional_packages_stay_at_home(home: str) -> None:
    """Whatever reaches an optional package stands in the one part that a command loads lazily, when asked."""
    packages = {package for package, place in OPTIONAL.items() if place == home}
    needing = {
        module
        for module, tree in MODULES.items()
        if any(name.split(".")[0] in packages for _, name in _imports(tree))
    }
    assert needing
    while more := {module for module in MODULES if _own_imports(module) & needing} - needing:
        needing |= more
    assert [module for module in sorted(needing) if not _matches(module, home)] == []


def test_help_is_light() -> None:
    """`qfbatch --help` loads click and nothing heavy."""
    code = (
        "import sys\n"
        "from qfbatch.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert sorted(loaded & HEAVY) == []
    assert "click" in loaded


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=_name)
def test_modules_are_small(path: Path) -> None:
    """A module is short enough to be read in one go."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < LINES


def test_names_say_something() -> None:
    """No module is called after nothing."""
    parts = {part for module in MODULES for part in module.split(".")}
    assert sorted(parts & EMPTY_NAMES) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_documented(command: str) -> None:
    """Each command stands in the README's table and explains itself."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\|.*`qfbatch {command}\b", readme, re.MULTILINE)
    assert COMMANDS[command][1].endswith(".")
    done = CliRunner().invoke(main, [command, "--help"], prog_name="qfbatch")
    assert done.exit_code == 0
    described = done.output.partition("\n\n")[2].strip()
    assert described
    assert not described.startswith("Options:")


def _public(module: str, tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Every public function, class and method, by its name, with its docstring."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name.startswith("_"):
                continue
            yield f"{module}.{node.name}", ast.get_docstring(node)
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(
                        member, ast.FunctionDef | ast.AsyncFunctionDef
                    ) and not member.name.startswith("_"):
                        yield f"{module}.{node.name}.{member.name}", ast.get_docstring(member)


def test_public_names_have_docstrings() -> None:
    """Every module and every public function, class and method says what it is for."""
    silent = [module for module, tree in MODULES.items() if not ast.get_docstring(tree)]
    silent += [
        name for module, tree in MODULES.items() for name, text in _public(module, tree) if text is None
    ]
    assert silent == []


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_say_what_they_hold(path: Path) -> None:
    """A test's docstring is one sentence that names the behaviour."""
    tests = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert tests
    wrong = [test.name for test in tests if not _is_a_sentence(ast.get_docstring(test))]
    assert wrong == []


def _is_a_sentence(text: str | None) -> bool:
    return text is not None and text.endswith(".") and re.search(r"[a-z]\. [A-Z]", text) is None
