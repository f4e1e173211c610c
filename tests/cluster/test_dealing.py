"""Who works on what: every shard by one owner at a time, none forgotten, rows lent and brought back."""

from __future__ import annotations

from qfbatch.cluster.dealing import Dealer
from qfbatch.cluster.messages import News
from qfbatch.flow.feed import ShardWork
from qfbatch.records import Record, Request, Shard, Status


def shard(number: int) -> ShardWork:
    """A shard of ten rows."""
    return ShardWork(Shard(number, "rows.jsonl", 1, 10, 0), 10, 10)


def requests(number: int, rows: int) -> tuple[Request, ...]:
    """The first rows of a shard."""
    return tuple(
        Request(f"r{row}", "rows.jsonl", row, "m", number, "prompt", {}, "{}", 1, {}) for row in range(rows)
    )


def record(number: int, row: int) -> Record:
    """A row of a shard, answered."""
    return Record(f"r{row}", "m", "e", number, "rows.jsonl", row, "prompt", Status.SUCCEEDED, 1, 0, 0, "{}")


def dealer(shards: int, *nodes: str) -> Dealer:
    """So many shards to deal, and these nodes."""
    found = Dealer({"m": [shard(number) for number in range(shards)]})
    for node in nodes:
        found.join(node)
    return found


def wants(found: Dealer, node: str, **news: object) -> list[int]:
    """The shards that a node gets when it says that it has no work."""
    found.news(node, News(wants=["m"], **news))  # type: ignore[arg-type]  # fields of News
    return [work.shard.number for _, work in found.orders(node).work]


def test_each_shard_goes_to_one_node() -> None:
    """Shards are given out in order, each once, and nobody is told that nothing is left while one is held."""
    found = dealer(2, "a", "b")
    assert [0] == wants(found, "a")
    assert [1] == wants(found, "b")
    found.news("a", News(wants=["m"], closed=[("m", 0)]))
    assert [] == found.orders("a").no_more
    found.news("b", News(wants=["m"], closed=[("m", 1)]))
    assert ["m"] == found.orders("b").no_more
    found.news("a", News(wants=["m"]))
    assert ["m"] == found.orders("a").no_more


def test_shards_of_a_lost_node_go_to_others_first() -> None:
    """What a lost node held is the next to be given out."""
    found = dealer(3, "a", "b")
    assert [0] == wants(found, "a")
    found.lose("a")
    assert [0] == wants(found, "b")
    assert [1] == wants(found, "b")


def lent() -> Dealer:
    """Node b has no shard left and is lent four of a's eight rows at hand."""
    found = dealer(1, "a", "b")
    assert [0] == wants(found, "a")
    found.news("a", News(ready={"m": 8}))
    assert [] == wants(found, "b")
    assert {"m": 4} == found.orders("a").hand_on
    found.news("a", News(handed_on=[("m", ShardWork(shard(0).shard, 10, 4, requests(0, 4)))]))
    (given,) = found.orders("b").work
    assert requests(0, 4) == given[1].requests
    return found


def test_records_of_lent_rows_go_to_the_owner() -> None:
    """A helper's records are the owner's to commit."""
    found = lent()
    found.news("b", News(worked=[record(0, 2)]))
    assert [record(0, 2)] == found.orders("a").records


def test_rows_lent_to_a_lost_helper_come_back() -> None:
    """What a lost helper has not done its owner works itself; what it has done is not asked again."""
    found = lent()
    found.news("b", News(worked=[record(0, 2)]))
    found.lose("b")
    orders = found.orders("a")
    assert [record(0, 2)] == orders.records
    ((_, back),) = orders.work
    assert ["r0", "r1", "r3"] == [request.row_id for request in back.requests]


def test_rows_of_a_lost_owner_are_given_up() -> None:
    """The helper stops working on rows that the next owner will ask."""
    found = lent()
    found.lose("a")
    assert [("m", 0)] == found.orders("b").give_up
    assert [0] == wants(found, "b")


def test_rows_of_an_owner_that_is_lost_first_are_not_begun() -> None:
    """Rows between an owner and its helper go to nobody when the owner is lost: the next one asks them."""
    found = dealer(1, "a", "b")
    assert [0] == wants(found, "a")
    found.news("a", News(ready={"m": 8}))
    assert [] == wants(found, "b")
    found.news("a", News(handed_on=[("m", ShardWork(shard(0).shard, 10, 4, requests(0, 4)))]))
    found.lose("a")
    orders = found.orders("b")
    assert [] == orders.work
    assert [] == orders.give_up


def test_who_may_have_rows_of_a_lost_owner_is_lent_none_of_that_shard() -> None:
    """A helper counts the rows of a shard as one loan: those of the next owner would close it too early."""
    found = lent()
    found.join("c")
    found.lose("a")
    assert [0] == wants(found, "c")
    found.news("c", News(ready={"m": 8}))
    assert [] == wants(found, "b")
    assert {} == found.orders("c").hand_on
    found.join("d")
    assert [] == wants(found, "d")
    assert {"m": 4} == found.orders("c").hand_on


def test_rows_of_such_a_shard_that_are_handed_on_all_the_same_go_back() -> None:
    """Whoever was asked to hand on may have got that shard since then; it works these rows itself."""
    found = dealer(2, "a", "b", "c", "d")
    assert [0] == wants(found, "a")
    assert [1] == wants(found, "c")
    found.news("a", News(ready={"m": 8}))
    assert [] == wants(found, "b")
    found.news("a", News(handed_on=[("m", ShardWork(shard(0).shard, 10, 4, requests(0, 4)))]))
    assert 1 == len(found.orders("b").work)
    found.lose("a")
    assert [0] == wants(found, "d")
    found.news("c", News(ready={"m": 8}))
    assert [] == wants(found, "b")
    assert {"m": 4} == found.orders("c").hand_on
    found.lose("d")
    assert [0] == wants(found, "c")
    handed_on = ShardWork(shard(0).shard, 10, 4, requests(0, 4))
    found.news("c", News(handed_on=[("m", handed_on)]))
    assert [] == found.orders("b").work
    assert [("m", handed_on)] == found.orders("c").work


def test_lent_rows_are_not_waited_for_when_the_run_is_ending() -> None:
    """A helper that ends with rows undone tells the owner to close without them."""
    found = lent()
    found.stop()
    found.lose("b")
    orders = found.orders("a")
    assert [("m", 0)] * 4 == orders.abandoned
    assert [] == orders.work
