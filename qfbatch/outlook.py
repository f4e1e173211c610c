"""How fast a run goes, what holds it back, when it will end and what it will have cost. Pure.

The time that is left comes from the limits in force and the work that is left, not from an average over rows:
tokens left over tokens a second where a token limit binds, calls over calls a second where a request limit
does, seconds of calls over calls at once where concurrency does. The largest of these, over the run's own
limits and each model's, is the one that binds. Where the run is seen to do less than that limit allows, what
it does counts. Rows done by earlier sessions are in no rate.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct, field

from qfbatch.limits.gate import GateStatistics
from qfbatch.pricing import Price
from qfbatch.tally import Asked, Tally, added

WINDOW_S = 60.0  # rates are those of the last minute
TRUSTED_S = 10.0  # of unpaused time in it: below, the limits alone tell
LONG_PAUSE_S = 5.0  # a pause of at least this says nothing of the pace before and after it
SHORTFALL = 0.9  # of what a limit allows: whoever does less is held back by something else
RECENT = 20  # looks at what binds; the most frequent of them is shown
CREDIBLE = 4.0  # the mean prompt that is left is within this factor of the mean over all


class Outlook(Struct, frozen=True):
    """What to expect.

    Attributes:
        rows_per_s, tokens_per_s: rows ended and tokens paid for, of late (up to a minute); this session's.
        eta_s: seconds until everything is done; None where nothing is known yet.
        binding: what held calls back of late: `pause`, `concurrency`, `qps`, `rpm`, `tpm` or `learned`, with
            ` of MODEL` where it is not the run's and there are several models; empty for nothing.
        decides: the limit that `eta_s` comes from, likewise.
        cost: what all will have cost in the end, by currency, dropped answers included; empty without prices.
    """

    rows_per_s: float = 0.0
    tokens_per_s: float = 0.0
    eta_s: float | None = None
    binding: str = ""
    decides: str = ""
    cost: dict[str, float] = field(default_factory=dict)


class ModelWork(Struct):
    """One model, as a forecast sees it.

    Attributes:
        tally: its live counts.
        price: what its tokens cost.
        estimated_tokens: of all its prompts, those done before included.
        rows: how many these are.
        done_tokens: prompt tokens reported by earlier sessions.
        done_rows: rows these belong to.
        expected_completion: tokens of an answer, until answers have been seen.
    """

    tally: Tally
    price: Price | None
    estimated_tokens: float
    rows: int
    done_tokens: int
    done_rows: int
    expected_completion: float


class _Work(Struct):
    """What is left to do, in the units of all limits."""

    rows: float = 0.0
    calls: float = 0.0
    tokens: float = 0.0
    busy_s: float | None = 0.0  # None: no call has been seen yet

    def __add__(self, other: _Work) -> _Work:
        busy = None if self.busy_s is None or other.busy_s is None else self.busy_s + other.busy_s
        return _Work(self.rows + other.rows, self.calls + other.calls, self.tokens + other.tokens, busy)

    def of(self, limit: str) -> float | None:
        """In a limit's units."""
        if limit == "tpm":
            return self.tokens
        return self.busy_s if limit == "concurrency" else self.calls


class _Look(Struct, frozen=True):
    """What had been done at a moment."""

    at: float
    paused: bool
    done: dict[str, _Work]


class Forecast:
    """Looks at a run every so often and says what to expect of it.

    Args:
        models: what there is to do, by the model's name.
    """

    def __init__(self, models: Mapping[str, ModelWork]) -> None:
        self._models = dict(models)
        self._looks: deque[_Look] = deque()
        self._bound: deque[str] = deque(maxlen=RECENT)
        self._paused = False
        self._unfinished: list[str] = []
        self._changed_at = float("-inf")

    def look(self, now: float, lanes: Mapping[str, GateStatistics]) -> Outlook:
        """The outlook at this moment.

        Args:
            now: seconds on a monotonic clock.
            lanes: the run's own gate under "", then each model's under its name.
        """
        done = {name: _done(model.tally.asked) for name, model in self._models.items()}
        unfinished = [name for name, model in self._models.items() if model.tally.left > 0]
        if unfinished != self._unfinished:
            # A model that is done leaves its part of the run's limits to the others: they go faster now.
            self._unfinished, self._changed_at = unfinished, now
        open_lanes = [lanes[name] for name in unfinished if name in lanes]
        # A pause of one endpoint of several is not a pause of the run: the others go on.
        shortest_s = min((lane.paused_s for lane in open_lanes), default=0.0)
        self._paused = shortest_s > LONG_PAUSE_S or (self._paused and shortest_s > 0)
        looks = self._looks
        looks.append(_Look(now, self._paused, done))
        while len(looks) > 2 and looks[1].at <= now - WINDOW_S:  # noqa: PLR2004 - two make a difference
            looks.popleft()
        elapsed = now - looks[0].at
        recent = _sum(done.values())
        before = _sum(looks[0].done.values())
        left = {name: self._left(name) for name in self._models}
        decides, eta_s = self._time(left, lanes, done)
        self._bound.append(self._binding(lanes))
        return Outlook(
            rows_per_s=(recent.rows - before.rows) / elapsed if elapsed > 0 else 0.0,
            tokens_per_s=(recent.tokens - before.tokens) / elapsed if elapsed > 0 else 0.0,
            eta_s=eta_s,
            binding=Counter(self._bound).most_common(1)[0][0],
            decides=decides,
            cost=self._cost(),
        )

    def _left(self, name: str) -> _Work:
        model = self._models[name]
        asked, rows = model.tally.asked, model.tally.left
        if rows <= 0:
            return _Work()
        prompt, completion = self._tokens_left(model)
        ended = max(1, asked.rows)
        dropped = rows * asked.discarded_tokens / ended
        calls = rows * asked.calls / ended if asked.rows else float(rows)
        busy_s = rows * asked.busy_s / ended if asked.rows else None
        return _Work(float(rows), calls, prompt + completion + dropped, busy_s)

    def _tokens_left(self, model: ModelWork) -> tuple[float, float]:
        """Prompt and completion tokens that the rows left will probably have."""
        asked, rows = model.tally.asked, max(0, model.tally.left)
        correction = 1.0
        if asked.answered and asked.estimated_tokens:
            # Failed rows report no tokens; they are taken to be like the others.
            correction = asked.prompt_tokens * asked.rows / (asked.answered * asked.estimated_tokens)
        mean = model.estimated_tokens / max(1, model.rows)
        # Of all rows, minus those answered before (by their reported tokens) and those asked by this session;
        # failed rows that nobody asks again are taken to be like the rest.
        others = max(1, model.rows - model.done_rows - asked.rows)
        estimated = model.estimated_tokens - asked.estimated_tokens
        estimated -= model.done_tokens / correction if correction else mean * model.done_rows
        estimated *= rows / others
        estimated = min(max(estimated, rows * mean / CREDIBLE), rows * mean * CREDIBLE)
        each = asked.completion_tokens / asked.answered if asked.answered else model.expected_completion
        return estimated * correction, rows * each

    def _time(
        self, left: Mapping[str, _Work], lanes: Mapping[str, GateStatistics], done: Mapping[str, _Work]
    ) -> tuple[str, float | None]:
        """The limit that decides and the seconds until all is done under it."""
        open_models = [name for name in left if left[name].rows]
        if not open_models:
            return "", 0.0
        scopes = [("", open_models), *((name, [name]) for name in open_models)]
        found: list[tuple[float, str, str, float, float]] = []
        for scope, models in scopes:
            if scope not in lanes:
                continue
            lane = lanes[scope]
            work = _sum(left[name] for name in models)
            for limit, allowed in {**lane.limits, "concurrency": float(lane.concurrency)}.items():
                units = work.of(limit)
                if units is not None and allowed > 0:
                    found.append((lane.paused_s + units / allowed, limit, scope, units, allowed))
        if not found:
            return "", None
        seconds, limit, scope, units, allowed = max(found)
        if scope == "" or len(open_models) == 1:
            # Where models share the run's limits, one of them alone is slower than it will be in the end.
            seconds += units / self._pace(limit, allowed, open_models, done) - units / allowed
        return self._named(limit, scope), seconds

    def _pace(self, limit: str, allowed: float, models: Sequence[str], done: Mapping[str, _Work]) -> float:
        """What is done a second in a limit's units: what it allows, unless less is seen to be done."""
        looks = [look for look in self._looks if look.at >= self._changed_at]
        active_s = sum(look.at - earlier.at for earlier, look in pairwise(looks) if not look.paused)
        if active_s < TRUSTED_S:
            return allowed
        now, before = _sum(done[name] for name in models), _sum(looks[0].done[name] for name in models)
        units = (now.of(limit) or 0.0) - (before.of(limit) or 0.0)
        seen = units / active_s
        return seen if 0 < seen < SHORTFALL * allowed else allowed

    def _cost(self) -> dict[str, float]:
        cost: dict[str, float] = {}
        for model in self._models.values():
            standing = model.tally.standing()
            cost = added(cost, standing.spent)
            price = model.price
            if price is None or not standing.left:
                continue
            prompt, completion = self._tokens_left(model)
            amount = price.of_tokens(round(prompt), round(completion))
            if amount is not None:
                cost = added(cost, {price.currency: amount})
        return cost

    def _binding(self, lanes: Mapping[str, GateStatistics]) -> str:
        """What holds calls back at this moment: the models' limits come first, being the tighter ones."""
        for name in self._models:
            lane = lanes.get(name)
            if lane is not None and lane.binding and self._models[name].tally.left > 0:
                return self._named(lane.binding, name)
        return lanes[""].binding if "" in lanes else ""

    def _named(self, limit: str, scope: str) -> str:
        return f"{limit} of {scope}" if scope and len(self._models) > 1 else limit


def _done(asked: Asked) -> _Work:
    tokens = asked.prompt_tokens + asked.completion_tokens + asked.discarded_tokens
    return _Work(float(asked.rows), float(asked.calls), float(tokens), asked.busy_s)


def _sum(parts: Iterable[_Work]) -> _Work:
    return sum(parts, _Work())


__all__ = ["Forecast", "ModelWork", "Outlook"]
