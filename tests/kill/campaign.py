"""Kill a run again and again, then let it complete, and count what that cost.

    python -m kill.campaign [--seeds N] [--first N]      (from tests/; `make test-kill`)

prints a line per seed: kills, rows lost, rows doubled, answers paid twice.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from scripted import ScriptedServer

from . import moments
from .ledger import Ledger, Paid, drain
from .moments import Moment
from .sessions import Ended, Session, run
from .verdict import (
    Answers,
    answers,
    committed_rows,
    differences,
    final_rows,
    lost_since,
)
from .workload import Workload

GROUP_ROWS = 256
Stages = Sequence[tuple[str, ...]]
WHOLE: Stages = ((),)


@dataclass
class Toll:
    """What the kills of one campaign cost.

    Attributes:
        kills: sessions ended by SIGKILL.
        lost: committed answers that were gone or changed, and rows missing at the end.
        doubled: rows asked again although their answer was committed.
        paid_twice: answers paid for beyond one per row and model.
        most_at_once: the most answers that one kill threw away.
        bound: the most that one kill may throw away.
        wrong: everything else that was not as it has to be.
        where: what each kill waited for.
    """

    kills: int = 0
    lost: int = 0
    doubled: int = 0
    paid_twice: int = 0
    most_at_once: int = 0
    bound: int = 0
    wrong: list[str] = field(default_factory=list)
    where: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        within = self.most_at_once <= self.bound and self.paid_twice <= self.kills * self.bound
        return not (self.lost or self.doubled or self.wrong) and within

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.lost} lost, {self.doubled} doubled, {self.paid_twice} paid twice "
            f"(at one kill at most {self.most_at_once}; allowed {self.bound})"
            + "".join(f"\n  {line}" for line in self.wrong)
            + (f"\n  killed at: {', '.join(self.where)}" if not self.good else "")
        )


class Campaign:
    """One run directory under fire.

    Args:
        workload: what is asked.
        folder: holds the job, its input and the run directories.
        server: answers; its counts are the reference's and this run's only.
        ledger: of the server.
        stages: options of `run`, one session's each, that lead to the complete run.
    """

    def __init__(
        self,
        workload: Workload,
        folder: Path,
        server: ScriptedServer,
        ledger: Ledger,
        *,
        stages: Stages = WHOLE,
    ) -> None:
        self.job = workload.write(folder, server.base_url)
        self.run = folder / "run"
        self.ledger = ledger
        self.toll = Toll(bound=workload.concurrency + GROUP_ROWS)
        self._workload = workload
        self._server = server
        self._endpoints = list(workload.models.values())
        self._expected, self._expected_codes = self._reference(folder, stages)
        self._answered: Answers = {}
        self._paid_for_answered: Counter[Paid] = Counter()

    def _reference(self, folder: Path, stages: Stages) -> tuple[pl.DataFrame, list[int]]:
        """The final rows and the exit codes of an uninterrupted run of the same stages."""
        job = self._workload.write_job(folder, self._server.base_url, "reference")
        codes = [run(job, *options).code for options in stages]
        self._server.reset()  # its faults begin anew
        self.ledger.read()
        self.ledger.paid.clear()
        return final_rows(folder / "reference"), codes

    @property
    def left(self) -> int:
        """Answers still to be paid for, as far as they have been committed."""
        return self._workload.calls - len(self._answered)

    def strike(self, moment: Moment, *options: str) -> bool:
        """Run a session and kill it at this moment; False if it ended before."""
        before = self.ledger.paid.copy()
        with Session(self.job, *options) as session:
            session.watch(moments.due(moment, self.run, self.ledger, self.left))
            return self._after(session.kill(), before, str(moment))

    def strike_at(self, point: str, *options: str) -> bool:
        """Run a session that dies at this fault point; False if it never came there."""
        before = self.ledger.paid.copy()
        return self._after(run(self.job, *options, point=point), before, point)

    def complete(self, *options: str) -> Ended:
        """Run a session to its end."""
        before = self.ledger.paid.copy()
        ended = run(self.job, *options)
        self._after(ended, before, "")
        return ended

    def accept_damage(self) -> None:
        """Damage was done to the files on purpose: what is left of them is what is committed."""
        self._take(answers(committed_rows(self.run)))

    def judge(self, codes: Sequence[int]) -> Toll:
        """The bill, once the run is complete; `codes` are its stages' exit codes."""
        toll = self.toll
        if list(codes) != self._expected_codes:
            toll.wrong.append(f"exit codes {list(codes)}, expected {self._expected_codes}")
        found = final_rows(self.run)
        toll.wrong += differences(found, self._expected)
        toll.lost += self._expected.height - found.height
        paid = self._paid_per_row(answers(found))
        toll.paid_twice = self.ledger.total - len(paid)
        toll.lost += sum(not count for count in paid.values())
        return toll

    def _after(self, ended: Ended, before: Counter[Paid], where: str) -> bool:
        """Judge the run directory after a session."""
        drain(self._server, self._endpoints)
        self.ledger.read()
        toll = self.toll
        if "Traceback" in ended.stderr:
            toll.wrong.append(f"a traceback: {ended.stderr[-600:]}")
        rows = committed_rows(self.run)
        now = answers(rows)
        toll.lost += lost_since(self._answered, now)
        again = self._paid_per_row(self._answered)
        toll.doubled += (again - self._paid_for_answered).total()
        self._take(now)
        if ended.killed:
            toll.kills += 1
            toll.where.append(where)
            known = {self._workload.key(*key) for key in now}
            thrown_away = sum(n for paid, n in (self.ledger.paid - before).items() if paid not in known)
            toll.most_at_once = max(toll.most_at_once, thrown_away)
        elif ended.code not in {0, 1}:
            toll.wrong.append(f"exit {ended.code}: {ended.stderr[-600:]}")
        elif not re.search(rf"\b{len(now):,} succeeded, {rows.height - len(now):,} failed\b", ended.stderr):
            toll.wrong.append(
                f"counts do not balance with {len(now)} of {rows.height}: {ended.stderr[-600:]}"
            )
        return ended.killed

    def _take(self, now: Answers) -> None:
        self._answered = now
        self._paid_for_answered = self._paid_per_row(now)

    def _paid_per_row(self, rows: Answers) -> Counter[Paid]:
        keys = (self._workload.key(*key) for key in rows)
        return Counter({key: self.ledger.paid[key] for key in keys})


@contextmanager
def under_fire(workload: Workload, folder: Path, *, stages: Stages = WHOLE) -> Iterator[Campaign]:
    """A campaign with a server of its own."""
    path = folder / "paid.jsonl"
    with ScriptedServer(ledger=path) as server:
        ledger = Ledger(path)
        try:
            yield Campaign(workload, folder, server, ledger, stages=stages)
        finally:
            ledger.close()


def fight(campaign: Campaign, rng: random.Random, stages: Stages, kills: int) -> Toll:
    """Kill every stage up to `kills` times at random moments, complete each, and judge."""
    codes = []
    for options in stages:
        for _ in range(kills):
            if not campaign.strike(moments.draw(rng, campaign.left), *options):
                break
        codes.append(campaign.complete(*options).code)
    return campaign.judge(codes)


def random_workload(rng: random.Random, seed: int) -> tuple[Workload, Stages]:
    """A job of its own kind for every seed: sizes, streams, models, limits and retried failures."""
    rows = rng.choice([400, 1500, 9000])
    models = {"plain-model": "echo,delay=0.004"}
    if rng.random() < 0.7:
        models["Zweites/二"] = rng.choice(["words,delay=0.003", "echo,delay=0.02,sigma=1"])
    retry_failed = rng.random() < 0.5
    kinds: tuple[str, ...] = ("slow", "retried", "broken", "throttled", "refused")
    if retry_failed:
        kinds = (*kinds, "stubborn")
    workload = Workload(
        seed=seed,
        rows=rows,
        shard_rows=rng.choice([37, 250, 1000, rows]),
        concurrency=rng.choice([1 if rows < 500 else 8, 16, 64, 200]),
        models=models,
        kinds=kinds if rng.random() < 0.8 else (),
        parameters={"stream": True} if rng.random() < 0.4 else {},
        base_text="x" * rng.choice([0, 0, 2000]),
    )
    stages: list[tuple[str, ...]] = [()]
    if rng.random() < 0.5:
        stages.insert(0, ("--limit", str(rng.randint(1, rows))))
    if retry_failed:
        stages.append(("--retry-failed",))
    return workload, stages


def main(arguments: Sequence[str]) -> int:
    """Fight many seeds; 1 if any promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m kill.campaign", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=25, help="how many (25)")
    parser.add_argument("--first", type=int, default=1, help="the first (1)")
    parser.add_argument("--kills", type=int, default=6, help="at most so many kills a stage (6)")
    options = parser.parse_args(arguments)
    total, bad = Toll(), 0
    for seed in range(options.first, options.first + options.seeds):
        rng = random.Random(seed)
        workload, stages = random_workload(rng, seed)
        with (
            tempfile.TemporaryDirectory(prefix="qfbatch-kill-") as folder,
            under_fire(workload, Path(folder), stages=stages) as campaign,
        ):
            toll = fight(campaign, rng, stages, options.kills)
        bad += not toll.good
        total.kills += toll.kills
        total.lost += toll.lost
        total.doubled += toll.doubled
        total.paid_twice += toll.paid_twice
        _say(f"seed {seed}: {toll}")
    _say(
        f"{options.seeds} seeds: {total.kills} kills, {total.lost} lost, {total.doubled} doubled, "
        f"{total.paid_twice} paid twice; {bad or 'no'} seeds broke a promise"
    )
    return 1 if bad else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a line per seed is what this is for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
