"""How much of a quota is used and how much refused, for every way services count; see docs/limits.md."""

from __future__ import annotations

import pytest

from .quota_simulation import COUNTS, LIMITS, figure

pytestmark = [pytest.mark.parametrize("counting", COUNTS), pytest.mark.parametrize("limit", LIMITS)]


def test_declared_limit_is_used_up_without_refusals(counting: str, limit: str) -> None:
    """A limit declared as it is: at least 97 % used, at most 0.5 % of the calls refused."""
    found = figure(counting, limit, declared=1.0, minutes=4)
    assert found.used >= 0.97
    assert found.refused <= 0.005


def test_limit_declared_too_high_is_found_out(counting: str, limit: str) -> None:
    """A limit declared 20 % too high: after the first minute at least 85 % used, at most 3 % refused."""
    found = figure(counting, limit, declared=1.2, minutes=4, skip_s=60.0, models=2)
    assert found.used >= 0.85
    assert found.refused <= 0.03


def test_undeclared_limit_is_learned_from_refusals(counting: str, limit: str) -> None:
    """No limit declared: after the first minute at least 85 % used, at most 3 % refused."""
    found = figure(counting, limit, declared=None, minutes=4, skip_s=60.0)
    assert found.used >= 0.85
    assert found.refused <= 0.03
