"""Sampled prompts and answers, made ready for a page: nothing in them can act, and nothing in them is hidden.

Escaping is the template's; here is what escaping does not do. Control characters are shown as their
pictures, and characters that turn the direction of writing around by their numbers. The language of a text
is told by its script where that tells it, so that browsers choose the right glyphs and screen readers the
right voice.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from qfbatch.render import numbers
from qfbatch.reporting.sampled import Excerpt, Mark, Prompt, Reply, Sample

FOLDED = 480  # characters of a text that are shown before it is unfolded
_FOLDED_LINES = 8

_NEW_LINES = re.compile("\r\n|\u2028|\u2029")
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: "\u2421"}
_NUMBERS = {
    code: f"[U+{code:04X}]"
    for code in (*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_SHOWN = _PICTURES | _NUMBERS

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA, _HANGUL = re.compile("[\u3040-\u30ff]"), re.compile("[\uac00-\ud7af\u1100-\u11ff]")
_PREVAILS = 0.4  # of a text's letters: names and terms in Latin letters stand in many Chinese texts


class Text(NamedTuple):
    """A text from outside.

    Attributes:
        whole: all of it that the sample has, visible.
        preview: its beginning, if it is long enough to be folded; empty otherwise.
        size: how long it is, and how much is left out, in words; empty for a short one.
        language: for the `lang` attribute; empty where the script does not tell.
    """

    whole: str
    preview: str
    size: str
    language: str


class Answer(NamedTuple):
    """One model's cell beside a prompt.

    Attributes:
        text: what it answered; None where it did not.
        trouble: why there is no answer, or what is odd about it; empty otherwise.
        marks: of this row.
        facts: tokens, latency, cost, each as text.
    """

    text: Text | None
    trouble: str
    marks: tuple[str, ...]
    facts: tuple[str, ...]


class Question(NamedTuple):
    """A prompt with its answers; `columns` are the carried ones, by name."""

    row_id: str
    source: str
    text: Text
    columns: tuple[tuple[str, Text], ...]
    answers: tuple[Answer, ...]
    marks: tuple[str, ...]


class Filter(NamedTuple):
    """A way to narrow the sample: its mark, and how many prompts of the sample and of the run have it."""

    mark: str
    shown: int
    of: int


def questions(sample: Sample) -> tuple[Question, ...]:
    """The sample's prompts in its order."""
    return tuple(_question(prompt) for prompt in sample.prompts)


def filters(sample: Sample) -> tuple[Filter, ...]:
    """A filter for each mark that a prompt of the run has."""
    return tuple(
        Filter(mark.value, sum(mark in prompt.marks for prompt in sample.prompts), sample.marked[mark])
        for mark in Mark
        if sample.marked[mark]
    )


def extent(sample: Sample) -> str:
    """How much of the run the sample is, and how it was chosen."""
    shown, all_prompts = len(sample.prompts), sample.of_prompts
    rows = f"{numbers.count(sample.rows)} of {numbers.things(sample.of_rows, 'row')}"
    prompts = f"{numbers.count(shown)} of {numbers.things(all_prompts, 'prompt')}"
    if shown == all_prompts:
        return f"{prompts} ({rows})."
    return (
        f"{prompts} ({rows}): some of each kind that the filters name, the others evenly spaced over the "
        "input. The same run always shows the same ones."
    )


def text_of(excerpt: Excerpt) -> Text:
    """A text with its long tail folded away."""
    whole = visible(excerpt.text)
    left_out = excerpt.characters - len(excerpt.text)
    lines = whole.split("\n")
    preview, size = "", ""
    if len(whole) > FOLDED or len(lines) > _FOLDED_LINES or left_out:
        preview = "\n".join(lines[:_FOLDED_LINES])[:FOLDED]
        size = numbers.things(excerpt.characters, "character")
        if left_out:
            size += f", the first {numbers.count(len(excerpt.text))} here"
    return Text(whole, preview, size, language(whole))


def visible(text: str) -> str:
    """The text, with what would steer a terminal or a line's direction made to be seen instead."""
    return _NEW_LINES.sub("\n", text).translate(_SHOWN)


def language(text: str) -> str:
    """`zh`, `ja` or `ko` by a text's script; empty where others prevail, for those tell no language."""
    letters = sum(character.isalpha() for character in text)
    han, kana, hangul = (len(script.findall(text)) for script in (_HAN, _KANA, _HANGUL))
    if han + kana + hangul <= letters * _PREVAILS:
        return ""
    if hangul > kana:
        return "ko"
    return "ja" if kana else "zh"


def _question(prompt: Prompt) -> Question:
    return Question(
        row_id=visible(prompt.row_id),
        source=visible(prompt.source),
        text=text_of(prompt.prompt),
        columns=tuple((visible(name), text_of(Excerpt(v, len(v)))) for name, v in prompt.columns.items()),
        answers=tuple(_answer(reply) for reply in prompt.replies),
        marks=tuple(mark.value for mark in prompt.marks),
    )


def _answer(reply: Reply | None) -> Answer:
    if reply is None:
        return Answer(None, "Not answered yet.", (), ())
    facts = []
    if reply.total_tokens is not None:
        facts.append(numbers.things(reply.total_tokens, "token"))
    if reply.latency_s is not None:
        facts.append(numbers.seconds(reply.latency_s))
    if reply.cost is not None:
        facts.append(f"{numbers.amount(reply.cost)} {visible(reply.currency or '')}".rstrip())
    if reply.finish_reason:
        facts.append(f"finished: {visible(reply.finish_reason)}")
    trouble = ""
    if reply.answer is None:
        trouble = visible(f"{reply.status}: {reply.error}" if reply.error else reply.status)
    elif Mark.EMPTY in reply.marks:
        trouble = "The answer is empty."
    return Answer(
        text=None if reply.answer is None or Mark.EMPTY in reply.marks else text_of(reply.answer),
        trouble=trouble,
        marks=tuple(mark.value for mark in reply.marks),
        facts=tuple(facts),
    )


__all__ = ["extent", "filters", "language", "questions", "text_of", "visible"]
