"""How one answer is judged: the scorers a job can name, and what is evened out before texts are compared.

A score is a number, the higher the better; those of the built-in scorers go from 0 to 1. A scorer that needs
a reference gives a row without one no score at all: None, which is not 0.
"""

from __future__ import annotations

import importlib
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from qfbatch.errors import UsageError
from qfbatch.job.settings import ScorerSettings

Judge: TypeAlias = Callable[[str, str | None, dict[str, Any]], Any]
Compare: TypeAlias = Callable[[str, str], float]
Row: TypeAlias = Mapping[str, Any]

EXTRA = "evaluate"

_WIDE = frozenset("WF")  # East Asian widths of scripts that are written without blanks between words
_SIMILARITIES = {
    "edit_similarity": ("qfbatch.similarity.edit", "edit_similarity"),
    "chrf": ("qfbatch.similarity.chrf", "chrf"),
}


class ScorerError(Exception):
    """An own scorer failed on a row; the message says how."""


class Scorer(Struct, frozen=True):
    """A scorer, ready to judge.

    Attributes:
        settings: as the job asks for it.
        score: an answer's score, given its references and its row; None where there is nothing to judge.
        proportion: every score is 0 or 1; None where only the scores can tell.
        needs_row: it looks at the whole row.
    """

    settings: ScorerSettings
    score: Callable[[str, Sequence[str], Row], float | None]
    proportion: bool | None
    needs_row: bool = False

    @property
    def name(self) -> str:
        """How reports call it."""
        return self.settings.name


def built_in(settings: ScorerSettings) -> Scorer:
    """A scorer of qfbatch's own.

    Raises:
        UsageError: it needs a package that is not installed.
    """
    even = _evening(settings.normalise)
    if settings.scorer == "regex":
        pattern = re.compile(settings.pattern or "")
        return Scorer(settings, lambda answer, _, __: float(bool(pattern.search(even(answer)))), True)  # noqa: FBT003 - a field
    if settings.scorer in _SIMILARITIES:
        compare = _similarity(settings.scorer)
    elif settings.scorer == "contains":
        compare = _contains_words if settings.whole_words else _contains
    else:
        compare = _equal
    needs_text = settings.scorer in {"contains", "chrf"}  # of nothing, everything holds something

    def score(answer: str, references: Sequence[str], _: Row) -> float | None:
        """The best score against any reference; None where there is no reference to compare with."""
        evened = [even(reference) for reference in references]
        wanted = [reference for reference in evened if reference.strip()] if needs_text else evened
        if not wanted:
            return None
        given = even(answer)
        return max(compare(given, reference) for reference in wanted)

    return Scorer(settings, score, settings.scorer not in _SIMILARITIES)


def own(settings: ScorerSettings, judge: Judge) -> Scorer:
    """A user's function as a scorer.

    Args:
        settings: as the job asks for it.
        judge: called as `judge(answer, reference, row)`; what it returns is a number, a boolean, or None
            for a row that it does not want to score.
    """

    def score(answer: str, references: Sequence[str], row: Row) -> float | None:
        """What the function says, as a number; None where it leaves the row out."""
        reference = references[0] if references else None
        try:
            found = judge(answer, reference, dict(row))
        except (Exception, SystemExit) as error:
            raise ScorerError(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if found is None:
            return None
        try:
            number = float(found) if not isinstance(found, str | bytes) else math.nan
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise ScorerError(f"returned {found!r:.100}, which is no finite number")
        return number

    return Scorer(settings, score, None, needs_row=True)


def refuse_missing(carried: Sequence[str], scorers: Sequence[Scorer]) -> None:
    """Refuse scorers that compare with what the results do not carry.

    Args:
        carried: the carried columns, by their own names.
        scorers: what is to judge.

    Raises:
        UsageError: there is such a scorer.
    """
    for scorer in scorers:
        reference = scorer.settings.reference
        if reference is not None and reference not in carried:
            nearest = get_close_matches(reference, carried, n=1)
            known = f"Carried columns: {', '.join(carried)}." if carried else "They carry no columns."
            raise UsageError(
                f"evaluation: {scorer.name} compares with {reference}, which the results do not carry",
                hint=f"Did you mean {nearest[0]}? {known}" if nearest else known,
            )


def reference_texts(value: Any, *, as_json: bool) -> list[str]:
    """A reference cell as the texts that are right; none where the cell is null.

    Args:
        value: the cell. Whole numbers read without a fraction, whatever the column's type: 85, not 85.0.
        as_json: it is JSON text of a column with nested or mixed values, in which a list holds several right
            answers.
    """
    if as_json and isinstance(value, str):
        value = msgspec.json.decode(value)
    values = value if isinstance(value, list) else [value]
    return [_text(each) for each in values if each is not None]


def normalised(text: str, steps: Sequence[str]) -> str:
    """A text without the differences that these steps of `NORMALISATIONS` even out."""
    return _evening(steps)(text)


def _evening(steps: Sequence[str]) -> Callable[[str], str]:
    wanted = [step for name, step in _STEPS if name in steps]
    if "nfkc" in steps and len(wanted) > 1:
        wanted.insert(-1 if "whitespace" in steps else len(wanted), _nfkc)  # folding and removing may undo it

    def even(text: str) -> str:
        """The text after all steps, in their order."""
        for step in wanted:
            text = step(text)
        return text

    return even


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _without_punctuation(text: str) -> str:
    return "".join(c for c in text if not unicodedata.category(c).startswith("P"))


def _single_blanks(text: str) -> str:
    return " ".join(text.split())


# In the order in which they are applied.
_STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("nfkc", _nfkc),
    ("case", str.casefold),
    ("punctuation", _without_punctuation),
    ("whitespace", _single_blanks),
)


def _equal(answer: str, reference: str) -> float:
    return float(answer == reference)


def _contains(answer: str, reference: str) -> float:
    return float(reference in answer)


def _contains_words(answer: str, reference: str) -> float:
    """Whether the reference stands in the answer without a word going on at its ends."""
    start = answer.find(reference)
    while start >= 0:
        end = start + len(reference)
        goes_on = _joined(answer[start - 1 : start], reference[0]) or _joined(
            reference[-1], answer[end : end + 1]
        )
        if not goes_on:
            return 1.0
        start = answer.find(reference, start + 1)
    return 0.0


def _joined(left: str, right: str) -> bool:
    """Whether a word goes on from one character to the next; Chinese characters stand for themselves."""
    return bool(left and right) and all(
        c.isalnum() and unicodedata.east_asian_width(c) not in _WIDE for c in (left, right)
    )


def _similarity(name: str) -> Compare:
    module, function = _SIMILARITIES[name]
    try:
        compare: Compare = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise UsageError(
            f"the scorer {name} needs a package that is not installed: {error.name or error}",
            hint=f"Install it with: pip install 'qfbatch[{EXTRA}]'",
        ) from None
    return compare


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return msgspec.json.encode(value).decode()


__all__ = [
    "EXTRA",
    "Judge",
    "Scorer",
    "ScorerError",
    "built_in",
    "normalised",
    "own",
    "reference_texts",
    "refuse_missing",
]
