"""Who works on which shard, and which rows of it others work on at the end. Pure.

A shard has one owner, who has claimed its log and alone commits its rows. When no shard is left for a node
that has nothing to do, it is lent rows of the owner who has most at hand: it makes their records, the owner
commits them. So no log knows of it, and a helper that is lost has cost nothing but its calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from qfbatch.cluster.messages import Key, News, Orders
from qfbatch.flow.feed import ShardWork
from qfbatch.records import Record, Request

LEAST_LENT = 2  # rows at hand, below which lending costs more than it brings


class _Loan(Struct):
    owner: str
    helper: str
    model: str
    work: ShardWork
    left: dict[str, Request]


class Dealer:
    """Deals a session's work to nodes that come and go.

    Args:
        work: by model, the shards to do.
    """

    def __init__(self, work: Mapping[str, Sequence[ShardWork]]) -> None:
        self._queues = {model: deque(items) for model, items in work.items()}
        self._held: dict[Key, tuple[str, ShardWork]] = {}
        self._loans: list[_Loan] = []
        self._orders: dict[str, Orders] = {}
        self._wants: dict[str, list[str]] = {}
        self._ready: dict[str, Mapping[str, int]] = {}
        self._asked_of: dict[tuple[str, str], str] = {}  # (owner, model) → the helper to be
        # Helpers of lost owners, with the shard: they may have rows of it on their way, and would take a
        # second loan of the same shard for a part of the first.
        self._gave_up: set[tuple[str, Key]] = set()
        self._stopping = False

    def join(self, node: str) -> None:
        """A node is there."""
        self._orders[node] = Orders()

    def news(self, node: str, news: News) -> None:
        """Take what a node says of shards and rows."""
        for key in news.closed:
            self._held.pop(key, None)
        for model, work in news.handed_on:
            self._handed_on(node, model, work)
        for record in news.worked:
            self._worked(node, record)
        self._wants[node] = list(news.wants)
        self._ready[node] = news.ready

    def orders(self, node: str) -> Orders:
        """What a node is to do now; it is asked for once and then done."""
        orders = self._orders.get(node, Orders())
        self._orders[node] = Orders()
        given = {model for model, _ in orders.work}
        for model in self._wants.pop(node, []):
            if model not in given and not self._stopping:
                self._find_work(node, model, orders)
        return orders

    def held_by(self, node: str) -> int:
        """How many shards a node has not done yet."""
        return sum(owner == node for owner, _ in self._held.values())

    @property
    def finished(self) -> bool:
        """Whether every shard is done."""
        return not self._held and not any(self._queues.values())

    def stop(self) -> None:
        """Nothing more is to be dealt."""
        self._stopping = True

    def lose(self, node: str) -> None:
        """A node is gone, or has ended: what it has not done is for others."""
        for key, (owner, work) in list(self._held.items()):
            if owner == node:
                del self._held[key]
                self._queues[key[0]].appendleft(work)
        for loan in [loan for loan in self._loans if node in (loan.owner, loan.helper)]:
            self._loans.remove(loan)
            key = loan.model, loan.work.shard.number
            if loan.owner == node:
                self._take_back(loan.helper, key)
            elif self._stopping:
                self._order(loan.owner).abandoned += [key] * len(loan.left)
            elif loan.left:
                back = replace(loan.work, requests=tuple(loan.left.values()))
                self._order(loan.owner).work.append((loan.model, back))
        self._asked_of = {pair: to for pair, to in self._asked_of.items() if node not in (pair[0], to)}
        self._orders.pop(node, None)
        self._wants.pop(node, None)
        self._ready.pop(node, None)

    def _take_back(self, helper: str, key: Key) -> None:
        """A helper is not to work on a loan any more, whether it has heard of it already or not."""
        orders = self._order(helper)
        unheard = [given for given in orders.work if (given[0], given[1].shard.number) == key]
        if unheard:
            orders.work.remove(unheard[0])
        else:
            orders.give_up.append(key)
            self._gave_up.add((helper, key))

    def _find_work(self, node: str, model: str, orders: Orders) -> None:
        queue = self._queues[model]
        if queue:
            work = queue.popleft()
            self._held[model, work.shard.number] = node, work
            orders.work.append((model, work))
            return
        if all(held != model for held, _ in self._held):
            orders.no_more.append(model)
            return
        if node in self._asked_of.values() or any(loan.helper == node for loan in self._loans):
            return
        unfit = {owner for key, (owner, _) in self._held.items() if (node, key) in self._gave_up}
        owners: Iterable[tuple[int, str]] = (
            (ready.get(model, 0), owner)
            for owner, ready in self._ready.items()
            if owner not in {node, *unfit} and (owner, model) not in self._asked_of
        )
        rows, owner = max(owners, default=(0, ""))
        if rows >= LEAST_LENT:
            self._asked_of[owner, model] = node
            self._order(owner).hand_on[model] = rows // 2

    def _handed_on(self, owner: str, model: str, work: ShardWork | None) -> None:
        helper = self._asked_of.pop((owner, model), "")
        if work is None:
            return
        key = model, work.shard.number
        if helper not in self._orders or self._stopping or (helper, key) in self._gave_up:
            if self._stopping:
                self._order(owner).abandoned += [key] * len(work.requests)
            else:
                self._order(owner).work.append((model, work))
            return
        left = {request.row_id: request for request in work.requests}
        self._loans.append(_Loan(owner, helper, model, replace(work, requests=()), left))
        self._order(helper).work.append((model, work))

    def _worked(self, helper: str, record: Record) -> None:
        for loan in self._loans:
            if (
                loan.helper == helper
                and (loan.model, loan.work.shard.number) == (record.model, record.shard)
                and loan.left.pop(record.row_id, None) is not None
            ):
                self._order(loan.owner).records.append(record)
                if not loan.left:
                    self._loans.remove(loan)
                return

    def _order(self, node: str) -> Orders:
        return self._orders.setdefault(node, Orders())


__all__ = ["Dealer"]
