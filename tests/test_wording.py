"""How numbers of things read, and where."""

from __future__ import annotations

import pytest

from qfbatch.progress.events import NodeEnded, RunStarted, Stopping
from qfbatch.progress.log import LogLines
from qfbatch.wording import count, things


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1_234_567, "1,234,567"), (1e6, "1,000,000"), (0.5, "0.5"), (60.0, "60")],
)
def test_numbers_read_the_same_everywhere(number: float, text: str) -> None:
    """Thousands are set apart, and no number is told by its power of ten."""
    assert text == count(number)


def test_one_thing_is_one() -> None:
    """One of a thing is told in the singular, none and many in the plural."""
    assert ["0 rows", "1 row", "2,000 rows"] == [things(number, "row") for number in (0, 1, 2000)]


def test_the_log_counts_as_tables_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of the log set thousands apart and know one from many."""
    log = LogLines(lambda: 0.0)
    log(RunStarted("runs/eval", rows=12_000, done=1000, models={}, notes=()))
    log(Stopping("enough", in_flight=1))
    log(NodeEnded("a", shards=1, message="killed"))
    said = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert [
        "run runs/eval: 12,000 rows, 1,000 done before",
        "stopping, 1 call on its way: enough",
        "node a is lost (killed); others take over its 1 shard",
    ] == said
