"""What a run has still to do, at what pace, under which limit; no clock but the given one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from qfbatch.limits.gate import GateStatistics
from qfbatch.outlook import Forecast, ModelWork
from qfbatch.pricing import Price
from qfbatch.records import Record, Status
from qfbatch.tally import Standing, Tally

RUN = GateStatistics(in_flight=8, concurrency=64, paused_s=0.0, episodes=0, binding="")


def lane(
    binding: str = "", *, concurrency: int = 16, paused_s: float = 0.0, **limits: float
) -> GateStatistics:
    """A model's gate with these limits, per second."""
    return GateStatistics(
        in_flight=4, concurrency=concurrency, paused_s=paused_s, episodes=0, binding=binding, limits=limits
    )


def answer(prompt: int, completion: int = 20, *, latency_s: float = 1.0, **fields: Any) -> Record:
    """A succeeded record."""
    known: dict[str, Any] = {
        "row_id": "r", "model": "m", "endpoint": "e", "shard": 0, "source_file": "f", "source_row": 1,
        "prompt": "p", "status": Status.SUCCEEDED, "attempts": 1, "started_at": 0, "finished_at": 0,
        "parameters": "{}", "prompt_tokens": prompt, "completion_tokens": completion,
        "total_tokens": prompt + completion, "latency_s": latency_s,
    }  # fmt: skip
    return Record(**(known | fields))


class Run:
    """A run of one model over simulated seconds."""

    def __init__(
        self,
        rows: int,
        *,
        mean_prompt: float = 100.0,
        done: Standing | None = None,
        price: Price | None = None,
    ) -> None:
        done = done or Standing()
        self.tally = Tally(msgspec.structs.replace(done, left=rows - done.rows))
        work = ModelWork(
            tally=self.tally, price=price, estimated_tokens=rows * mean_prompt, rows=rows,
            done_tokens=done.prompt_tokens, done_rows=done.succeeded, expected_completion=128.0,
        )  # fmt: skip
        self.forecast = Forecast({"m": work})
        self.now = 0.0

    def end(self, record: Record, *, estimated: int) -> None:
        """A row ends."""
        self.tally.asked.estimated_tokens += estimated
        self.tally.add([record])


def test_a_token_limit_counts_the_tokens_that_are_left_not_the_rows() -> None:
    """Short rows first: rows end fast, and the time left is still that of the long ones under the quota."""
    run = Run(200, mean_prompt=505.0)  # 100 rows of 10 tokens, then 100 of 1000
    for second in range(50):
        run.end(answer(10, 10), estimated=10)
        run.end(answer(10, 10), estimated=10)
        outlook = run.forecast.look(float(second), {"": RUN, "m": lane("tpm", tpm=40.0)})
    assert outlook.eta_s is not None
    assert pytest.approx((100 * 1000 + 100 * 10) / 40.0, rel=0.02) == outlook.eta_s
    assert ("tpm", "tpm") == (outlook.decides, outlook.binding)
    assert pytest.approx(2.0, rel=0.05) == outlook.rows_per_s
    assert pytest.approx(40.0, rel=0.05) == outlook.tokens_per_s


def test_estimates_are_corrected_by_what_was_reported() -> None:
    """Where the service counts twice the estimated tokens, the rows left will have twice as many."""
    run = Run(100, mean_prompt=100.0)
    for _ in range(20):
        run.end(answer(200, 0), estimated=100)
    outlook = run.forecast.look(0.0, {"": RUN, "m": lane(tpm=100.0)})
    assert outlook.eta_s is not None
    assert pytest.approx(80 * 200 / 100.0) == outlook.eta_s


def test_rows_done_before_are_in_no_rate() -> None:
    """A resume starts at no rows a second, and asks the limit how long the rest takes."""
    run = Run(1000, done=Standing(succeeded=900, prompt_tokens=90_000, total_tokens=108_000))
    outlook = run.forecast.look(0.0, {"": RUN, "m": lane(qps=2.0)})
    assert (0.0, 50.0, "qps") == (outlook.rows_per_s, outlook.eta_s, outlook.decides)


def test_nothing_is_known_before_the_first_answer_without_limits() -> None:
    """A time left that nobody knows is not made up."""
    assert None is Run(10).forecast.look(0.0, {"": RUN, "m": lane()}).eta_s


def test_concurrency_decides_where_answers_are_slow() -> None:
    """Ten seconds a call, four at once: the seconds of calls that are left, over four."""
    run = Run(50)
    for _ in range(10):
        run.end(answer(10, latency_s=10.0), estimated=10)
    outlook = run.forecast.look(0.0, {"": RUN, "m": lane("concurrency", concurrency=4, qps=5.0)})
    assert (100.0, "concurrency") == (outlook.eta_s, outlook.decides)


def test_what_is_seen_counts_where_it_is_less_than_a_limit_allows() -> None:
    """A limit that is not reached promises more than comes."""
    run = Run(1000)
    for second in range(30):
        run.end(answer(10, latency_s=0.1), estimated=10)
        outlook = run.forecast.look(float(second), {"": RUN, "m": lane(qps=4.0)})
    assert outlook.eta_s is not None
    assert pytest.approx(970.0, rel=0.04) == outlook.eta_s


def test_a_long_pause_is_added_and_says_nothing_of_the_pace() -> None:
    """Half a minute without a call does not double the time of what follows."""
    run = Run(1000)
    for second in range(20):
        run.end(answer(10), estimated=10)
        run.forecast.look(float(second), {"": RUN, "m": lane(qps=1.0)})
    for left in range(30, 0, -1):
        outlook = run.forecast.look(50.0 - left, {"": RUN, "m": lane("pause", qps=1.0, paused_s=left)})
    assert outlook.eta_s is not None
    assert pytest.approx(981.0, rel=0.15) == outlook.eta_s


def test_the_slowest_of_several_models_decides_and_is_named() -> None:
    """Models run beside each other: the run ends when the last one does."""
    works = {}
    for name, rows in (("fast", 10), ("slow", 100)):
        works[name] = ModelWork(
            tally=Tally(Standing(left=rows)), price=None, estimated_tokens=10.0 * rows, rows=rows,
            done_tokens=0, done_rows=0, expected_completion=10.0,
        )  # fmt: skip
    lanes = {"": RUN, "fast": lane(qps=1.0), "slow": lane("qps", qps=1.0)}
    outlook = Forecast(works).look(0.0, lanes)
    assert (100.0, "qps of slow", "qps of slow") == (outlook.eta_s, outlook.decides, outlook.binding)


def test_a_model_that_is_done_leaves_its_part_to_the_others() -> None:
    """What the last model did beside another says nothing of what it will do alone."""
    works = {
        name: ModelWork(
            tally=Tally(Standing(left=rows)),
            price=None,
            estimated_tokens=10.0 * rows,
            rows=rows,
            done_tokens=0,
            done_rows=0,
            expected_completion=10.0,
        )
        for name, rows in (("fast", 30), ("slow", 100))
    }
    forecast = Forecast(works)
    lanes = {"": RUN, "fast": lane(qps=9.0), "slow": lane(qps=2.0)}
    for second in range(31):
        works["fast"].tally.add([answer(10, latency_s=0.1, model="fast")])
        works["slow"].tally.add([answer(10, latency_s=0.1, model="slow")])
        outlook = forecast.look(float(second), lanes)
    assert pytest.approx(69 / 2.0) == outlook.eta_s


def test_projected_cost_is_what_was_spent_and_what_is_left() -> None:
    """Cost so far, dropped answers included, plus the tokens left at the model's price."""
    run = Run(10, mean_prompt=100.0, price=Price(1.0, 2.0))
    for _ in range(5):
        run.end(answer(100, 50, cost=0.2, currency="CNY", discarded_cost=0.1), estimated=100)
    outlook = run.forecast.look(0.0, {"": RUN, "m": lane()})
    assert {"CNY": pytest.approx(5 * 0.3 + 5 * 0.2)} == outlook.cost


def test_a_finished_run_has_no_time_left() -> None:
    """Nothing is left: zero seconds, and the cost is what it was."""
    run = Run(1)
    run.end(answer(10), estimated=10)
    assert 0.0 == run.forecast.look(5.0, {"": RUN, "m": lane(qps=1.0)}).eta_s
