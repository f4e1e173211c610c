"""Answers follow their rows through every kind of change of the input."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.checkpoint.results import scan_results
from qfbatch.errors import RunMismatch
from qfbatch.flow.rehoming import InputDifference, count_differences
from qfbatch.flow.resuming import follow_input
from qfbatch.planning.planner import plan_job
from resume.runs import MODELS, answer_to, begin_run, make_job, write_rows

Rows = list[dict[str, Any]]

# Few different prompts, so that duplicates are common; a row's own parameters are part of what is asked.
contents = st.fixed_dictionaries(
    {"prompt": st.sampled_from(["a", "b", "c", "d"]), "topic": st.integers(0, 3)},
    optional={"parameters": st.sampled_from([{"top_p": 0.5}, None])},
)


def asked(row: dict[str, Any]) -> tuple[str, str]:
    """What decides a row's answer."""
    return row["prompt"], str(row.get("parameters"))


def as_input(rows: Rows, *, with_ids: bool, start: int = 0) -> Rows:
    """The rows, with unique ids where wanted."""
    return [{"id": f"r{start + n}", **row} for n, row in enumerate(rows)] if with_ids else rows


@settings(max_examples=60, deadline=None)
@given(data=st.data(), with_ids=st.booleans())
def test_answers_follow_their_rows_through_any_edit(data: st.DataObject, with_ids: bool) -> None:  # noqa: FBT001
    """After any edit a row has an answer exactly if an equal row had one, as a plan counts before."""
    before = as_input(data.draw(st.lists(contents, min_size=1, max_size=12)), with_ids=with_ids)
    places = st.tuples(st.sampled_from([m.name for m in MODELS]), st.integers(0, len(before) - 1))
    answered = data.draw(st.sets(places, max_size=20))
    kept = data.draw(st.permutations(before))[: data.draw(st.integers(0, len(before)))]
    edited = [{**row, **data.draw(contents)} if data.draw(st.integers(0, 5)) == 0 else row for row in kept]
    added = as_input(data.draw(st.lists(contents, max_size=6)), with_ids=with_ids, start=1000)
    now = data.draw(st.permutations([*edited, *added])) or as_input(
        [{"prompt": "e", "topic": 0}], with_ids=with_ids
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", before)
        job = make_job(folder, with_ids=with_ids)
        layout, manifest = begin_run(job, answered)
        write_rows(folder / "rows.jsonl", [*now, {"id": "last", "prompt": "z", "topic": 9}])
        now = [*now, {"id": "last", "prompt": "z", "topic": 9}]
        planned = plan_job(job)
        follow_input(job, layout, manifest, accept=True, on_survey=None)
        results = scan_results(layout).collect().to_dicts()
        if answered:
            done = Counter(row["model"] for row in results)
            assert [(done[m.name], len(now) - done[m.name]) for m in planned.models] == [
                (m.done, m.left) for m in planned.models
            ]

    for model in MODELS:
        mine = [row for row in results if row["model"] == model.name]
        for row in mine:
            source = now[row["source_row"] - 1]
            expected = {
                "prompt": source["prompt"],
                "result": answer_to(model, source["prompt"]),
                "input_topic": source["topic"],
                "row_id": source["id"] if with_ids else f"{folder / 'rows.jsonl'}:{row['source_row']}",
            }
            assert expected == {key: row[key] for key in expected}
        was: Counter[Any] = Counter()
        for who, position in answered:
            if who == model.name:
                row = before[position]
                was[(row["id"] if with_ids else None, *asked(row))] += 1
        is_now = Counter((row["id"] if with_ids else None, *asked(row)) for row in now)
        assert sum((was & is_now).values()) == len(mine)
        assert len(mine) == len({row["row_id"] for row in mine})


def test_a_changed_input_is_counted_and_refused_until_accepted(tmp_path: Path) -> None:
    """Without being told to go on, a run on other input stops, counts the rows and changes nothing."""
    rows: Rows = [{"id": str(n), "prompt": f"p{n}", "topic": n} for n in range(10)]
    write_rows(tmp_path / "rows.jsonl", rows)
    job = make_job(tmp_path, with_ids=True)
    layout, manifest = begin_run(job, {("one", n) for n in range(5)})
    before = scan_results(layout).collect().sort("row_id")
    changed: Rows = [*rows[2:5], {"id": "5", "prompt": "other", "topic": 5}, *rows[6:]]
    write_rows(tmp_path / "rows.jsonl", [*changed, {"id": "new", "prompt": "n", "topic": 0}])

    with pytest.raises(RunMismatch) as refused:
        follow_input(job, layout, manifest, accept=False, on_survey=None)

    counted = "1 row new, 2 gone, 1 changed, 7 the same"
    assert f"{layout.path} was started on other input: {counted}:" == refused.value.message.splitlines()[0]
    assert scan_results(layout).collect().sort("row_id").equals(before)
    assert not (layout.path / "next").exists()


def test_superseded_answers_are_kept(tmp_path: Path) -> None:
    """Answers of rows that are gone were paid for: they stay on disk, out of the results."""
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "keep"}, {"prompt": "drop"}])
    job = make_job(tmp_path)
    layout, manifest = begin_run(job, {("one", 0), ("one", 1)})
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "keep"}])

    follow_input(job, layout, manifest, accept=True, on_survey=None)

    assert ["keep"] == scan_results(layout).collect()["prompt"].to_list()
    kept = layout.path / "superseded" / "001" / "results"
    assert ["part-one-000000.parquet"] == [path.name for path in kept.iterdir()]


def test_the_same_input_written_anew_is_no_change(tmp_path: Path) -> None:
    """A file whose time changed and whose bytes did not is the same input."""
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "a"}])
    job = make_job(tmp_path)
    layout, manifest = begin_run(job, {("one", 0)})
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "a"}])

    assert (manifest, []) == follow_input(job, layout, manifest, accept=False, on_survey=None)


keys = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), max_size=12)


@given(before=keys, now=keys, with_ids=st.booleans())
def test_differences_equal_counting_by_hand(
    before: list[tuple[int, int]],
    now: list[tuple[int, int]],
    with_ids: bool,  # noqa: FBT001
) -> None:
    """New, gone, changed and same rows are what sets of ids and multisets of contents say."""
    if with_ids:
        old, new = dict(before), dict(now)
        same = sum(old[i] == new[i] for i in old.keys() & new.keys())
        changed = len(old.keys() & new.keys()) - same
        expected = InputDifference(len(new.keys() - old.keys()), len(old.keys() - new.keys()), changed, same)
        before, now = list(old.items()), list(new.items())
    else:
        before, now = [(0, content) for _, content in before], [(0, content) for _, content in now]
        same = (Counter(before) & Counter(now)).total()
        expected = InputDifference(len(now) - same, len(before) - same, 0, same)

    def packed(rows: list[tuple[int, int]]) -> bytes:
        return b"".join(i.to_bytes(8, "little") + content.to_bytes(8, "little") for i, content in rows)

    assert expected == count_differences(packed(before), packed(now))
