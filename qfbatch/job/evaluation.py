"""What must hold between the keys of a job's `evaluation`, and between them and the rest of the job."""

from __future__ import annotations

from typing import Any

from qfbatch.job.problems import Findings
from qfbatch.job.settings import BUILT_IN_SCORERS, DEFAULT_REFERENCE

_COMPARING = tuple(name for name in BUILT_IN_SCORERS if name != "regex")


def check_evaluation(findings: Findings, data: Any) -> None:
    """Record what is wrong between the keys of the job's scorers; values of a wrong type are passed over."""
    scorers = data.get("evaluation") if isinstance(data, dict) else None
    carried = _carried(data)
    names: dict[str, int] = {}
    for index, given in enumerate(scorers if isinstance(scorers, list) else []):
        scorer = given.get("scorer") if isinstance(given, dict) else None
        if not isinstance(scorer, str) or (":" not in scorer and scorer not in BUILT_IN_SCORERS):
            continue
        _check_scorer(findings, index, scorer, given)
        _check_name(findings, index, given.get("name") or scorer.rpartition(":")[2], names)
        reference = given.get("reference") or (DEFAULT_REFERENCE if scorer in _COMPARING else None)
        if carried is not None and isinstance(reference, str) and reference not in carried:
            message = f"{reference} is not among input.columns, so the results would not carry it"
            findings.add(("evaluation", index, "reference"), message, key=True)


def _check_scorer(findings: Findings, index: int, scorer: str, given: dict[str, Any]) -> None:
    """Keys that the scorer needs, and those that mean nothing to it."""
    way = ("evaluation", index)
    if scorer == "regex" and given.get("pattern") is None:
        findings.add((*way, "pattern"), "is required for regex", key=True)
    for key, meant in (
        ("pattern", scorer == "regex"),
        ("whole_words", scorer == "contains"),
        ("reference", scorer != "regex"),
        ("normalise", ":" not in scorer),
    ):
        if given.get(key) is not None and not meant:
            findings.add((*way, key), f"means nothing to {scorer}", key=True)


def _check_name(findings: Findings, index: int, name: Any, names: dict[str, int]) -> None:
    if not isinstance(name, str):
        return
    first = names.setdefault(name, index)
    if first != index:
        message = f"evaluation[{first}] is called {name}, too; give one of them a name of its own"
        findings.add(("evaluation", index, "name"), message, key=True)
    elif "=" in name:
        findings.add(("evaluation", index, "name"), 'must not hold "="', key=True)


def _carried(data: Any) -> list[str] | None:
    """The columns that the job says are carried; None where all are."""
    section = data.get("input") if isinstance(data, dict) else None
    columns = section.get("columns") if isinstance(section, dict) else None
    return columns if isinstance(columns, list) else None


__all__ = ["check_evaluation"]
