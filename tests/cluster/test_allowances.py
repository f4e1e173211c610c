"""A budget in portions: together never more than there is, and all of it is used."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from qfbatch.allowances import Allowances, Spending
from qfbatch.job.settings import Budget


@given(nodes=st.integers(1, 5), seed=st.integers(0, 2**16), limit=st.integers(1, 20_000))
@example(nodes=1, seed=0, limit=251)  # the last token was dealt, and called used up before it was spent
@settings(max_examples=30, deadline=None)
def test_portions_are_spent_whole_and_never_exceeded(nodes: int, seed: int, limit: int) -> None:
    """Rows of 50 tokens are started until the budget is used up, one a node too many at most."""
    rng = random.Random(seed)
    allowances = Allowances(Budget(max_total_tokens=limit))
    spent = dict.fromkeys([f"n{n}" for n in range(nodes)], 0)
    for _ in range(5_000):
        node = rng.choice(list(spent))
        short = True
        portion = allowances.exchange(node, Spending(tokens=spent[node], short=short))
        assert portion.max_total_tokens is not None
        while spent[node] < portion.max_total_tokens and rng.random() < 0.7:
            spent[node] += 50
        short = spent[node] >= portion.max_total_tokens
        allowances.exchange(node, Spending(tokens=spent[node], short=short))
        if allowances.used_up() is not None:
            break
    else:
        raise AssertionError("never used up")
    assert limit <= sum(spent.values()) <= limit + 50 * nodes


def test_what_an_idle_node_holds_goes_to_others() -> None:
    """A node without rows gives its portion back."""
    allowances = Allowances(Budget(max_total_tokens=1000))
    allowances.exchange("a", Spending(short=True))
    allowances.exchange("b", Spending(short=True))
    allowances.exchange("a", Spending(idle=True))
    for _ in range(60):
        portion = allowances.exchange("b", Spending(tokens=0, reserved_tokens=10_000, short=True))
    assert portion.max_total_tokens is not None
    assert portion.max_total_tokens >= 990
