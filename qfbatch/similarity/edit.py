"""How much of a text would have to be typed again: the only place that knows rapidfuzz."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein


def edit_similarity(answer: str, reference: str) -> float:
    """1 less the Levenshtein distance in characters over the longer text's length: 1 for equal texts."""
    return Levenshtein.normalized_similarity(answer, reference)


__all__ = ["edit_similarity"]
