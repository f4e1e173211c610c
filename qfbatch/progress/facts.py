"""A pulse in words: the same facts for the bar, the log and `qfbatch status`, cut to the room there is."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from qfbatch.progress.events import Pulse
from qfbatch.tally import total
from qfbatch.wording import things

_THOUSAND = 1000.0
_TINY = 0.01


class Fact(Struct, frozen=True):
    """One fact.

    Attributes:
        text: in full.
        short: the same in less room.
        alarming: whether it asks for attention.
    """

    text: str
    short: str
    alarming: bool = False


def facts(pulse: Pulse) -> list[Fact]:
    """What is worth knowing besides rows, rows a second and the time left; the most important first."""
    run, outlook = total(pulse.models.values()), pulse.outlook
    found = []
    if run.failed:
        found.append(_both(f"{run.failed:,} failed", alarming=True))
    found.append(Fact(f"{outlook.tokens_per_s:,.0f} tokens/s", f"{compact(outlook.tokens_per_s)} tok/s"))
    found += [_cost(spent, outlook.cost.get(name, spent), name) for name, spent in run.spent.items()]
    found.append(_limit(pulse))
    found.append(_both(f"{_in_flight(pulse):,} in flight"))
    if pulse.waiting:
        found.append(_both(f"{pulse.waiting:,} waiting"))
    if pulse.throttled:
        found.append(_both(f"{pulse.throttled:,} throttled", alarming=True))
    if pulse.retried:
        found.append(_both(f"{pulse.retried:,} retried"))
    tokens = run.total_tokens + run.discarded_tokens
    found.append(Fact(things(tokens, "token"), f"{compact(tokens)} tok"))
    if len(pulse.models) > 1:
        shares = [f"{name} {model.left:,} left" for name, model in pulse.models.items() if model.left]
        found += [Fact(share, share) for share in shares]
    return found


def fitting(found: Sequence[Fact], width: int) -> list[Fact]:
    """As many of the facts as fit on a line, separated by `, `: in full, else short, else the first ones."""
    if _length([fact.text for fact in found]) <= width:
        return list(found)
    short = [Fact(fact.short, fact.short, fact.alarming) for fact in found]
    while short and _length([fact.text for fact in short]) > width:
        short.pop()
    return short


def remaining(eta_s: float | None) -> str:
    """The time left, in words."""
    return "time left unknown" if eta_s is None else f"about {duration(eta_s)} left"


def duration(seconds: float) -> str:
    """h:mm:ss, with days in front where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours}:{minutes:02}:{rest:02}"
    return f"{days} d {clock}" if days else clock


def rate(per_second: float) -> str:
    """Rows a second, with as many digits as tell something; a minute's where a second has less than one."""
    if 0 < per_second < 1:
        return f"{per_second * 60:.1f} rows/min"
    return f"{per_second:,.1f} rows/s"


def compact(number: float) -> str:
    """A count in at most five characters: 950, 1.2k, 34k, 5.6M."""
    for unit in ("", "k", "M", "G"):
        if number < _THOUSAND or unit == "G":
            break
        number /= _THOUSAND
    return f"{number:.0f}{unit}" if not unit or number >= 10 else f"{number:.1f}{unit}"  # noqa: PLR2004 - two digits


def money(amount: float) -> str:
    """An amount: cents where they say enough, else more digits."""
    return f"{amount:,.2f}" if amount == 0 or amount >= _TINY else f"{amount:.2g}"


def _cost(spent: float, expected: float, currency: str) -> Fact:
    return Fact(
        f"cost {money(spent)} of about {money(expected)} {currency}".rstrip(),
        f"{money(spent)}/~{money(expected)} {currency}".rstrip(),
    )


def _limit(pulse: Pulse) -> Fact:
    pause_s = max((lane.paused_s for lane in pulse.lanes.values()), default=0.0)
    if pause_s > 0:
        return _both(f"paused {pause_s:.0f} s", alarming=True)
    binding = pulse.outlook.binding
    return _both(f"limit {binding}" if binding else "no limit binds")


def _in_flight(pulse: Pulse) -> int:
    return pulse.lanes[""].in_flight if "" in pulse.lanes else 0


def _both(text: str, *, alarming: bool = False) -> Fact:
    return Fact(text, text, alarming)


def _length(texts: Sequence[str]) -> int:
    return len(", ".join(texts))
