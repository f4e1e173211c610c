"""A job file, read: text → tree → overrides → variables → checks → frozen settings.

Everything wrong with the file is collected before anything is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from qfbatch.errors import JobFileError
from qfbatch.job import values
from qfbatch.job.checks import both_sampling_limits, check_together, unpriced_models
from qfbatch.job.document import JobDocument
from qfbatch.job.endpoint_checks import unused_quotas
from qfbatch.job.freeze import freeze
from qfbatch.job.interpolate import interpolate
from qfbatch.job.messages import take_errors, wants_text
from qfbatch.job.overrides import apply_overrides
from qfbatch.job.problems import Findings, NotReadable, Problem
from qfbatch.job.secrets import looks_secret, refuse_secrets
from qfbatch.job.services import job_service, places
from qfbatch.job.settings import Job
from qfbatch.job.tree import Loc, Place, Scalar, Section, find, to_data, walk
from qfbatch.job.yaml_lines import parse
from qfbatch.service.dialect import Access
from qfbatch.service.dialects import DIALECTS
from qfbatch.service.parameters import TextListRule, TextRule
from qfbatch.storage.access import StorageAccess

MAX_BYTES = 1_000_000
_START = "Start from a commented job file: qfbatch init"
_TEXT_PARAMETERS = frozenset(
    name
    for dialect in DIALECTS.values()
    for name, rule in dialect.rules.items()
    if isinstance(rule, TextRule | TextListRule)
)


def load_job(path: Path, *, environ: Mapping[str, str], overrides: Sequence[str] = ()) -> Job:
    """Read and validate a job file.

    Args:
        path: the job file.
        environ: what `${NAME}` and the default base URL are read from (see `environment`).
        overrides: `KEY=VALUE` each, set over the file's values in their order.

    Raises:
        JobFileError: the file cannot be read, or anything in it is wrong; with all problems at once.
    """
    root, problems = _read_tree(path)
    problems += apply_overrides(root, overrides)
    findings = Findings(root, problems)
    refuse_secrets(findings)  # as written, so that nothing said later repeats one
    names = interpolate(findings, environ)
    refuse_secrets(findings)  # as read from the environment
    document = _validate(findings)
    check_together(findings)
    addresses = _addresses(findings, environ, names)
    if findings.problems or document is None:
        raise JobFileError(str(path), findings.lines(), hint=_hint(findings))
    data = to_data(root)
    warnings = [*both_sampling_limits(data), *unpriced_models(data), *unused_quotas(data)]
    return freeze(
        document,
        source=path,
        addresses=addresses,
        environment=tuple(names),
        warnings=warnings,
        access=StorageAccess(environ),
    )


def _read_tree(path: Path) -> tuple[Section, list[Problem]]:
    """The file's tree and what is wrong with its YAML."""
    text = _read_text(path)
    try:
        root, problems = parse(text)
    except NotReadable as error:
        hint = ""
        if "not valid YAML" in error.problem.message and "${" in text:
            hint = 'Inside { } and [ ] a reference needs quotes: {qps: "${QPS:-5}"}'
        raise JobFileError(str(path), [str(error.problem)], hint=hint) from error
    if root is None or (isinstance(root, Scalar) and root.value is None):
        raise JobFileError(str(path), ["the file is empty"], hint=_START)
    if not isinstance(root, Section):
        kind = "a single value" if isinstance(root, Scalar) else "a list"
        message = f"{root.place.label}: a job file is a mapping of keys (name, input, models, …), not {kind}"
        raise JobFileError(str(path), [message], hint=_START)
    return root, problems


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise JobFileError(str(path), ["there is no such file"], hint=_START) from error
    except IsADirectoryError as error:
        hint = "Name the job file in it."
        raise JobFileError(str(path), ["this is a directory, not a job file"], hint=hint) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name is not valid"
        hint = "Check the name and the file's permissions."
        raise JobFileError(str(path), [f"cannot be read: {reason}"], hint=hint) from error
    if len(raw) > MAX_BYTES:
        hint = "Is this a data file? It goes into input.path of a job file."
        raise JobFileError(str(path), [f"larger than {MAX_BYTES:,} bytes, which no job file is"], hint=hint)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        hint = "Save it as UTF-8."
        raise JobFileError(str(path), [f"line {line}: not UTF-8 text"], hint=hint) from error


def _validate(findings: Findings) -> JobDocument | None:
    """The document, or None where it has problems, which are recorded."""
    for loc, node in walk(findings.root):
        if isinstance(node, Scalar) and "parameters" in loc and not _TEXT_PARAMETERS.isdisjoint(loc):
            _keep_text(findings, loc)
    try:
        return JobDocument.model_validate(to_data(findings.root))
    except ValidationError as error:
        kept = [_keep_text(findings, loc) for loc in wants_text(error)]
        if not any(kept):
            take_errors(findings, error)
            return None
    try:
        return JobDocument.model_validate(to_data(findings.root))
    except ValidationError as error:
        take_errors(findings, error)
        return None


def _keep_text(findings: Findings, loc: Loc) -> bool:
    """What came from a variable stays text where text is asked for; whether that changed anything."""
    node = find(findings.root, loc)
    if not isinstance(node, Scalar) or not node.substituted or node.value in {node.text, None}:
        return False
    node.value = node.text
    return True


def _addresses(findings: Findings, environ: Mapping[str, str], names: set[str]) -> dict[Access, str]:
    """Where services are that state no address, if the environment says."""
    data = to_data(findings.root)
    asked = [place.service for place in places(data)] or [job_service(data)]
    found = {}
    for access in dict.fromkeys(s.dialect.access for s in asked if "base_url" not in s.values):
        text = environ.get(access.variable, "").strip()
        if not text:
            continue
        names.add(access.variable)
        place = Place(0, access.variable)
        try:
            if looks_secret(text):
                findings.problems.append(Problem(place, "must not hold credentials"))
            found[access] = values.base_url(text)
        except ValueError as error:
            findings.problems.append(Problem(place, str(error)))
    return found


def _hint(findings: Findings) -> str:
    if any("credential" in problem.message for problem in findings.problems):
        return "A credential that was ever committed or shared should be replaced at the service."
    return ""
