"""What driver and nodes say to each other, several times a second. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct, field

from qfbatch.allowances import Spending
from qfbatch.checkpoint.commitlog import ShardLog
from qfbatch.checkpoint.logbook import LogName
from qfbatch.errors import QfbatchError
from qfbatch.flow.feed import ShardWork
from qfbatch.flow.session import RunOptions
from qfbatch.job.settings import Budget, Job, ServiceSettings
from qfbatch.limits.gate import GateStatistics
from qfbatch.progress.events import Event
from qfbatch.records import Dropped, Failure, Record

Key = tuple[str, int]  # model, shard


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a node has to know before it begins, beside the manifest.

    Attributes:
        name: the node's, among all that ever were of the run.
        job: the job; its paths are absolute.
        options: of this session.
        addresses: of the job's services.
        environ: variables that calls need: credentials, proxies, certificates.
        news_s: news are waited for at most so long.
    """

    name: str
    job: Job
    options: RunOptions
    addresses: Mapping[ServiceSettings, str]
    environ: Mapping[str, str]
    news_s: float

    def __repr__(self) -> str:
        return f"Assignment({self.name!r}, …)"  # the rest may hold secrets


class Orders(Struct):
    """From the driver to a node.

    Attributes:
        work: shards to do, and rows of others' shards.
        no_more: models of which nothing is left for anybody.
        hand_on: of which models some of the rows at hand are to go to others, and how many.
        records: what others made of rows handed on.
        abandoned: rows handed on, by shard, that will not come back: the run is ending.
        give_up: shards whose rows are no longer to be worked here, for their owner is gone.
        budget: the node's portion.
        stop: end in an orderly way, for this reason.
        now: give up calls on their way, too.
    """

    work: list[tuple[str, ShardWork]] = field(default_factory=list)
    no_more: list[str] = field(default_factory=list)
    hand_on: dict[str, int] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    abandoned: list[Key] = field(default_factory=list)
    give_up: list[Key] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)
    stop: QfbatchError | None = None
    now: bool = False


class News(Struct):
    """From a node to the driver: what happened since it was asked last.

    Attributes:
        committed: groups of records that are durable now, as MessagePack, without what only results need.
        events: what observers are to be told.
        closed: shards that need no more work.
        logs: what the logs of shards that it has done come to.
        outcomes: by model, for the breakers: a failed call with its row, a row out of attempts, or an answer.
        wants: models for which it has no work.
        ready: by model, rows at hand that could be handed on.
        handed_on: rows handed on as ordered; an empty answer to an order, too.
        worked: records of rows that others handed on.
        retried: by model, failed records that new ones replace, with what they had to drop.
        lanes: its limits at this moment.
        waiting: rows that wait to be admitted.
        spending: for the budget.
        asked: rows worked on so far.
        ended: whether it has come to its end; the last news.
        reason: what ended it early.
        cut_off: the models for which that was that none of its calls reached the service.
        fault: what ended it that should not have been possible.
    """

    committed: list[bytes] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    closed: list[Key] = field(default_factory=list)
    logs: dict[LogName, ShardLog] = field(default_factory=dict)
    outcomes: list[tuple[str, Failure | None, str | None]] = field(default_factory=list)
    wants: list[str] = field(default_factory=list)
    ready: dict[str, int] = field(default_factory=dict)
    handed_on: list[tuple[str, ShardWork | None]] = field(default_factory=list)
    worked: list[Record] = field(default_factory=list)
    retried: list[tuple[str, Dropped | None]] = field(default_factory=list)
    lanes: dict[str, GateStatistics] = field(default_factory=dict)
    waiting: int = 0
    spending: Spending = Spending()
    asked: int = 0
    ended: bool = False
    reason: QfbatchError | None = None
    cut_off: list[str] = field(default_factory=list)
    fault: str = ""


__all__ = ["Assignment", "Key", "News", "Orders"]
