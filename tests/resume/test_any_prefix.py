"""Whatever was answered before a run died, the next one asks the rest, and only the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedServer

from qfbatch.checkpoint.results import scan_results
from qfbatch.flow.runner import run_job
from qfbatch.flow.session import RunOptions
from qfbatch.job.settings import ModelSettings, ServiceSettings
from resume.runs import answer_to, begin_run, make_job, write_rows

ROWS = 14
NAMES = ("one", "two")


@settings(max_examples=25, deadline=None)
@given(
    answered=st.sets(st.tuples(st.sampled_from(NAMES), st.integers(0, ROWS - 1))),
    shard_rows=st.integers(1, ROWS),
)
def test_any_prefix_then_resume_equals_one_run(
    server: ScriptedServer, answered: set[tuple[str, int]], shard_rows: int
) -> None:
    """Any set of committed rows, in parts and journals, is kept as it is; every other row is asked once."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", [{"prompt": f"p{n}"} for n in range(ROWS)])
        models = tuple(ModelSettings(name=model, endpoint=server.endpoint("echo")) for model in NAMES)
        service = ServiceSettings(base_url=server.base_url, auth="none")
        job = replace(make_job(folder, shard_rows=shard_rows), models=models, service=service)
        layout, _ = begin_run(job, answered)

        ended = run_job(job, RunOptions(), environ={}, observe=lambda _: None)

        results = {
            (row["model"], row["prompt"]): row["result"]
            for row in scan_results(layout).collect().iter_rows(named=True)
        }
        asked = {model.name: server.calls(model.endpoint) for model in models}
    expected = {
        (model.name, f"p{n}"): answer_to(model, f"p{n}") if (model.name, n) in answered else f"p{n}"
        for model in models
        for n in range(ROWS)
    }
    assert expected == results
    assert (0, 2 * ROWS, 2 * ROWS - len(answered)) == (ended.exit_code, ended.succeeded, ended.asked)
    for model in NAMES:
        rest = {f"p{n}": (1, 1) for n in range(ROWS) if (model, n) not in answered}
        assert rest == asked[model]
