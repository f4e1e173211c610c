"""How much two texts have in common in runs of characters: the only place that knows sacrebleu."""

from __future__ import annotations

from sacrebleu.metrics.chrf import CHRF

_PERCENT = 100.0
_CHRF = CHRF()  # chrF2: runs of 1 to 6 characters, recall counts twice; white space is left out


def chrf(answer: str, reference: str) -> float:
    """chrF2 of one answer, 0 to 1 (Popović 2015), as sacrebleu works it out for a sentence.

    Runs longer than the shorter text do not count, so that short references are judged fairly. It needs no
    words, hence no word segmentation: Chinese is judged as it is written.
    """
    return float(_CHRF.sentence_score(answer, [reference]).score) / _PERCENT


__all__ = ["chrf"]
