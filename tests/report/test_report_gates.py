"""Gates: what a run has to meet for `qfbatch report` to exit 0."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_runs import failed, frame, succeeded, write_run

from qfbatch.cli.main import main
from qfbatch.reporting.gates import Bound, Gates, bound, unmet
from qfbatch.reporting.summary import summarise


def of(gates: Gates, *, won: int, lost: int = 0, unsafe: int = 0, expected: int | None = None) -> list[str]:
    """What a run of these rows does not meet."""
    rows = [succeeded(n, is_safe=n >= unsafe) for n in range(won)] + [failed(won + n) for n in range(lost)]
    return unmet(gates, summarise(frame(rows)).total, len(rows) if expected is None else expected)


def test_a_share_of_successes() -> None:
    """Exactly the share passes; less does not, and rows that have not ended count against it."""
    assert [] == of(Gates(fail_under=75), won=3, lost=1)
    assert ["--fail-under 76: 75.0 % succeeded (3 of 4 rows)"] == of(Gates(fail_under=76), won=3, lost=1)
    assert ["--fail-under 90: 40.0 % succeeded (4 of 10 rows, 6 not yet ended)"] == of(
        Gates(fail_under=90), won=4, expected=10
    )
    assert [] == of(Gates(fail_under=100), won=4)


def test_a_share_just_missed_does_not_read_as_met() -> None:
    """The message shows as many digits as it takes to see it."""
    (line,) = of(Gates(fail_under=66.67), won=2, lost=1)
    assert "--fail-under 66.67: 66.667 % succeeded (2 of 3 rows)" == line


def test_a_run_without_rows_has_no_share() -> None:
    """Nothing succeeded of nothing: that is no success."""
    assert [] == of(Gates(fail_under=0), won=0)
    assert ["--fail-under 1: 0.0 % succeeded (0 of 0 rows)"] == of(Gates(fail_under=1), won=0)


def test_counts_and_shares_of_failures_and_unsafe_rows() -> None:
    """At the bound a run passes, beyond it not; shares are of the rows that have ended."""
    assert [] == of(Gates(max_failed=bound("1"), max_unsafe=bound("2")), won=3, lost=1, unsafe=2)
    assert [] == of(Gates(max_failed=bound("25%"), max_unsafe=bound("50 %")), won=3, lost=1, unsafe=2)
    assert ["--max-failed 0: 1 of 4 rows failed", "--max-unsafe 49.9%: 2 of 4 rows unsafe"] == of(
        Gates(max_failed=bound("0"), max_unsafe=bound("49.9%")), won=3, lost=1, unsafe=2
    )
    assert ["--max-failed 24%: 1 of 4 rows failed"] == of(
        Gates(max_failed=bound("24%")), won=3, lost=1, expected=100
    )
    assert [] == of(Gates(), won=0, lost=9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", Bound("5", 5, percent=False)), (" 2.5% ", Bound("2.5%", 2.5, percent=True))],
)
def test_bounds_as_they_are_typed(text: str, expected: Bound) -> None:
    """A number of rows, or a share of them."""
    assert expected == bound(text)


@pytest.mark.parametrize("text", ["", "%", "-1", "1.5", "101%", "five", "1e3", "nan"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    """Each in a message that shows what was typed."""
    with pytest.raises(ValueError, match="rows"):
        bound(text)


def report(*arguments: str | Path) -> Result:
    """The command's outcome."""
    return CliRunner().invoke(main, ["report", *map(str, arguments)], catch_exceptions=False)


def test_the_command_judges_each_run(tmp_path: Path) -> None:
    """Exit 1 after the whole report, with the run, the gate and its figures on stderr; exit 0 if all pass."""
    good = write_run(tmp_path / "good", [succeeded(n) for n in range(4)], rows=4)
    bad = write_run(tmp_path / "bad", [succeeded(0), failed(1)], rows=4)
    gates = ("--fail-under", "60", "--max-failed", "1", "--max-unsafe", "0%")
    plain = report(good, bad)
    assert 0 == plain.exit_code
    judged = report(good, bad, *gates)
    assert (1, plain.stdout) == (judged.exit_code, judged.stdout)
    assert f"gate: {bad}: --fail-under 60: 25.0 % succeeded (1 of 4 rows, 2 not yet ended)\n" == judged.stderr
    assert (0, "") == (report(good, *gates).exit_code, report(good, *gates).stderr)


def test_a_gate_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    """Said before anything is reported."""
    run = write_run(tmp_path / "run", [succeeded(0)], rows=1)
    for options in (("--max-failed", "some"), ("--fail-under", "101"), ("--max-unsafe", "0.5")):
        result = report(run, *options)
        assert (2, "") == (result.exit_code, result.stdout)
        assert options[1] in result.stderr
