"""Which answers are shown to people: bounded, repeatable, and honest about what they are."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from report_runs import failed, frame, succeeded

from qfbatch.records import Record
from qfbatch.reporting.sampled import Mark
from qfbatch.reporting.selection import CHARACTERS, LONGEST, sample

MODELS = ("yi-34b", "pythia-6.9b")


def rows(*records: Record) -> pl.LazyFrame:
    """Records as the frame a sample is taken from."""
    return frame(records)


def many(number: int, **changes: Any) -> list[Record]:
    """So many prompts, answered alike by both models."""
    return [succeeded(n, model, **changes) for n in range(number) for model in MODELS]


def test_a_small_run_is_shown_whole() -> None:
    """Where all prompts fit, all are there, in the order of the input, with every model's answer."""
    taken = sample(rows(*reversed(many(12))), models=MODELS)
    assert [prompt.row_id for prompt in taken.prompts] == [f"q{n + 1}" for n in range(12)]
    assert [reply.model for reply in taken.prompts[3].replies if reply] == list(MODELS)
    assert (taken.rows, taken.of_rows, taken.of_prompts) == (24, 24, 12)


def test_a_large_run_is_shown_in_even_steps() -> None:
    """Of prompts that have no mark, those shown are spread over the whole input."""
    taken = sample(rows(*many(100)), models=MODELS, prompts=4)
    assert [prompt.row_id for prompt in taken.prompts] == ["q1", "q26", "q51", "q76"]
    assert (taken.rows, taken.of_rows, taken.of_prompts) == (8, 200, 100)


def test_rare_troubles_are_in_the_sample() -> None:
    """One failed, one unsafe, one truncated and one empty answer among many are all found."""
    odd = {
        17: failed(17),
        42: succeeded(42, is_safe=False),
        63: succeeded(63, is_truncated=True),
        88: succeeded(88, result=" \n"),
    }
    records = [odd.get(n, succeeded(n)) for n in range(100)]
    taken = sample(rows(*records), models=("yi-34b",), prompts=10)
    found = {mark: prompt.row_id for prompt in taken.prompts for mark in prompt.marks}
    assert found == {Mark.FAILED: "q18", Mark.UNSAFE: "q43", Mark.TRUNCATED: "q64", Mark.EMPTY: "q89"}
    assert taken.marked == {**dict.fromkeys(found, 1), Mark.DIFFERS: 0}
    assert len(taken.prompts) == 10


def test_no_mark_takes_all_places() -> None:
    """Where most prompts failed, other prompts are shown, too."""
    records = [failed(n) if n < 90 else succeeded(n, is_safe=n != 95) for n in range(100)]
    taken = sample(rows(*records), models=("yi-34b",), prompts=12)
    kinds = [prompt.marks for prompt in taken.prompts]
    assert (Mark.UNSAFE,) in kinds
    assert len(kinds) == 12


def test_models_differ_by_their_answers() -> None:
    """A prompt differs where two models answered it and not alike; a failure is no other answer."""
    records = [
        *(succeeded(0, model) for model in MODELS),
        *(succeeded(1, model, result=model) for model in MODELS),
        succeeded(2, MODELS[0]),
        failed(2, MODELS[1]),
        succeeded(3, MODELS[0]),
    ]
    taken = sample(rows(*records), models=MODELS)
    assert [prompt.marks for prompt in taken.prompts] == [(), (Mark.DIFFERS,), (Mark.FAILED,), ()]
    assert taken.prompts[3].replies[1] is None


def test_the_same_results_give_the_same_sample() -> None:
    """The order in which rows lie in the files decides nothing."""
    records = [*many(50), *(failed(n, model) for n in range(50, 60) for model in MODELS)]
    forwards = sample(rows(*records), models=MODELS, prompts=9)
    assert forwards == sample(rows(*records[::-1]), models=MODELS, prompts=9)


def test_texts_are_cut_and_say_so() -> None:
    """A long prompt or answer keeps its beginning and its whole length."""
    text = "字" * (LONGEST + 5)
    (prompt,) = sample(rows(succeeded(0, prompt=text, result=text)), models=("yi-34b",)).prompts
    assert (prompt.prompt.text, prompt.prompt.characters) == (text[:LONGEST], LONGEST + 5)
    (reply,) = prompt.replies
    assert reply is not None
    assert reply.answer == prompt.prompt


def test_long_texts_make_a_short_sample() -> None:
    """The whole sample stays within its bound of characters, and then counts fewer prompts."""
    records = [succeeded(n, prompt="x" * LONGEST, result="y" * LONGEST) for n in range(100)]
    taken = sample(rows(*records), models=("yi-34b",))
    assert len(taken.prompts) == CHARACTERS // (2 * LONGEST)
    assert taken.of_prompts == 100


def test_other_models_are_left_out() -> None:
    """Rows of a model that is not asked for are neither shown nor counted."""
    taken = sample(rows(*many(3)), models=("pythia-6.9b",))
    assert (taken.models, taken.of_rows) == (("pythia-6.9b",), 3)


@pytest.mark.parametrize("prompts", [1, 5])
def test_a_run_without_rows_has_an_empty_sample(prompts: int) -> None:
    """Nothing answered yet, nothing to show."""
    taken = sample(rows(), models=MODELS, prompts=prompts)
    assert (taken.prompts, taken.of_prompts, taken.of_rows) == ((), 0, 0)
    assert set(taken.marked.values()) == {0}
