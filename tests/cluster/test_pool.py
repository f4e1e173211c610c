"""One amount for many: never exceeded, fair to all, and taken in turns where only few may have it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfbatch.limits.pool import Pool, Turns, fair_level

NAMES = [f"n{number}" for number in range(5)]
WANTED = st.one_of(st.floats(0, 50), st.just(math.inf))


@given(
    amount=st.floats(0, 1000),
    wanted=st.dictionaries(st.text(max_size=3), st.one_of(st.floats(0, 500), st.just(math.inf)), min_size=1),
)
def test_dealing_is_fair(amount: float, wanted: dict[str, float]) -> None:
    """Nobody gets more than is wanted, and who gets less than that gets as much as any other."""
    level = fair_level(amount, wanted.values())
    dealt = {name: min(level, want) for name, want in wanted.items()}
    assert sum(dealt.values()) <= amount * (1 + 1e-9) + 1e-9
    short = [name for name in wanted if dealt[name] < wanted[name] - 1e-9]
    for name in short:
        assert dealt[name] >= max(dealt.values()) - 1e-6 * (1 + amount)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["deal", "deal", "deal", "lost answer", "end", "lapse", "forget"]),
            st.sampled_from(NAMES),
            WANTED,
            st.sampled_from([20.0, 20.0, 60.0, 7.0]),
            st.integers(0, 12),
        ),
        max_size=40,
    ),
    whole=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_shares_in_force_never_add_up_to_more_than_the_amount(
    steps: list[tuple[str, str, float, float, int]], *, whole: bool
) -> None:
    """Nobody is given what another has, uses, or may go by still because an answer is on its way or lost."""
    pool = Pool(whole=whole)
    maybe: dict[str, list[float]] = {name: [0.0] for name in NAMES}  # what each may go by
    used = dict.fromkeys(NAMES, 0)

    def out(name: str) -> float:
        return max(*maybe[name], used[name])

    for number, (what, name, wanted, amount, in_use) in enumerate(steps):
        others = sum(out(other) for other in NAMES if other != name)
        unsure = what == "lost answer"
        if what in ("deal", "lost answer", "end"):
            had = maybe[name] if unsure else maybe[name][-1:]
            if what == "end":
                pool.end(name, in_use=in_use)
                share = 0.0
            else:
                share = pool.deal(name, wanted, amount, number * 1e-5, in_use=in_use, unsure=unsure)
            maybe[name], used[name] = [*had, share], in_use
            assert share <= max(had[-1], amount - others) + 1e-9
            assert share <= (math.ceil(wanted) if math.isfinite(wanted) else math.inf)
        elif what == "lapse":
            pool.lapse(name)
            maybe[name] = [0.0]
        else:
            pool.forget(name)
            maybe[name], used[name] = [0.0], 0
        assert pool.out == pytest.approx(sum(map(out, NAMES)), abs=1e-9)


@given(wanted=st.lists(WANTED, min_size=1, max_size=300), amount=st.floats(0, 500))
@settings(max_examples=30, deadline=None)
def test_shares_are_fair_once_all_have_asked(wanted: list[float], amount: float) -> None:
    """After what everybody wants has changed, four reports of each make everybody's share the fair one."""
    pool, now = Pool(), 0.0
    for number in range(len(wanted)):
        pool.deal(f"n{number}", math.inf, amount, now)
    for _ in range(4):
        for number, want in enumerate(wanted):
            now += 0.1 / len(wanted)
            pool.deal(f"n{number}", want, amount, now)
    level = fair_level(amount, wanted)
    for number, want in enumerate(wanted):
        now += 0.1 / len(wanted)
        assert min(level, want) == pytest.approx(pool.deal(f"n{number}", want, amount, now), abs=1e-6)


def test_a_smaller_amount_is_borne_by_all() -> None:
    """When the amount shrinks between two looks at all holders, who asks first does not bear it alone."""
    pool = Pool()
    for now in (0.0, 1.0, 2.0, 3.0):
        for number in range(1000):
            pool.deal(f"n{number}", math.inf, 1000.0, now)
    shares = [pool.deal(f"n{number}", math.inf, 850.0, 3.01) for number in range(1000)]
    assert [0.85] * 1000 == [round(share, 6) for share in shares]
    assert [0.85] * 1000 == [
        round(pool.deal(f"n{number}", math.inf, 850.0, 4.0), 6) for number in range(1000)
    ]
    assert pool.out == pytest.approx(850.0)


def test_turns_go_round_in_the_order_of_waiting() -> None:
    """Two at a time have a turn; nobody has a third one while another waits for the next."""
    turns, had, before = Turns(1.0), [], set[str]()
    for step in range(60):
        now = step * 0.1
        having = {
            name
            for name in NAMES
            if turns.hand_over(name, most=2, turn_s=0.45, now=now) is None
            and turns.ask(name, most=2, now=now)
        }
        assert len(turns) <= 2
        had += sorted(having - before)
        before = having
    assert NAMES == had[:5]
    assert all(set(NAMES) == set(had[first : first + 8]) for first in range(len(had) - 8))


def test_who_is_silent_is_not_waited_for() -> None:
    """A frozen holder, whether it has the turn or is the next to have it, keeps nobody from it for long."""
    turns = Turns(1.0)
    assert turns.ask("frozen", most=1, now=0.0)
    assert not turns.ask("next", most=1, now=0.1)
    assert not turns.ask("third", most=1, now=0.2)
    turns.lapse("frozen")
    assert not turns.ask("third", most=1, now=1.05)
    assert turns.ask("third", most=1, now=1.15)


def test_fewer_turns_are_had_when_the_limit_falls() -> None:
    """Where a smaller limit is for fewer holders, those too many hand their turns back at once."""
    turns = Turns(1.0)
    assert [True] * 3 == [turns.ask(name, most=3, now=0.0) for name in NAMES[:3]]
    having = [turns.ask(name, most=1, now=0.1) for name in NAMES[:3]]
    assert [False, False, True] == having
