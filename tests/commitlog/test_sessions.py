"""Who may write to a run with a commit log: sessions, their pulse, and what is found there."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import ExitStack

import msgspec
import pytest
from checkpoint.rows import COLUMNS, RUN_ID, plan, record
from storage.memory import MemoryStore

from qfbatch.checkpoint import logbook
from qfbatch.checkpoint.holding import last_seen_holder
from qfbatch.checkpoint.interface import LOG_GROUP_ROWS
from qfbatch.checkpoint.lock import Holder
from qfbatch.checkpoint.log_checkpoint import LogCheckpoint
from qfbatch.checkpoint.logbook import INDEX, Logbook
from qfbatch.checkpoint.manifest import Manifest, Session, read_manifest
from qfbatch.checkpoint.place import StoredRun, logbook_of
from qfbatch.checkpoint.stored_manifest import end_key, holder_key, pulse_key
from qfbatch.checkpoint.stored_tenure import StoredTenure, hold_stored
from qfbatch.errors import RunDirectoryError, RunDirectoryHeld
from qfbatch.records import Survey
from qfbatch.reporting.report import report_on

ELSEWHERE = Holder(4711, "another-machine", "2026-11-22T00:00:00+00:00")
MANIFEST = Manifest("run-1", "2026-11-22T00:00:00+00:00", "0", "3", "linux", {}, {}, Survey((), (), (), 0, 0))


def held(run: StoredRun, *, shared: bool = False) -> StoredTenure:
    """Hold the run and give it up again, as a process does; listens for a fifth of a second."""
    with ExitStack() as stack:
        return stack.enter_context(hold_stored(run, now=time.time, shared=shared, pulse_s=0.02, listen_s=0.2))


def other_session(store: MemoryStore, number: int, who: Holder = ELSEWHERE) -> None:
    """Another process has become the latest session."""
    store.put(holder_key(number), msgspec.json.encode(who))


def test_sessions_are_numbered() -> None:
    """Each start takes the next number, and what the latest manifest and its end say is in force."""
    store = MemoryStore()
    run = StoredRun(store)
    session = Session(started_at="2026-11-22T00:00:00+00:00")
    with hold_stored(run, now=time.time) as first:
        first.begin(msgspec.structs.replace(MANIFEST, sessions=(session,)))
        first.end(MANIFEST, msgspec.structs.replace(session, exit_code=130))
    with hold_stored(run, now=time.time) as second:
        found = read_manifest(run)
        assert found is not None
        assert (130,) == tuple(s.exit_code for s in found.sessions)
        second.begin(msgspec.structs.replace(found, job={"name": "later"}))
    later = read_manifest(run)
    assert later is not None
    assert {"name": "later"} == later.job
    assert {} == msgspec.json.decode(store.objects["manifest.json"], type=Manifest).job


def test_a_pulse_turns_others_away() -> None:
    """While the pulse of the latest session moves, another start is refused and told who it is."""
    store = MemoryStore()
    run = StoredRun(store)
    with hold_stored(run, now=time.time, pulse_s=0.02):
        with pytest.raises(RunDirectoryHeld, match=f"is in use by process {os.getpid()} on"):
            held(run)
        found = last_seen_holder(run, time.time())
        assert found is not None
        assert os.getpid() == found.pid


def test_the_index_grows_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds a run keeps its index up, so that a kill leaves one; not who was taken over."""
    monkeypatch.setattr(logbook, "_INDEX_AT", 1)
    indexed = threading.Event()
    store = MemoryStore(before=lambda _, key: indexed.set() if key == INDEX else None)
    with hold_stored(StoredRun(store), now=time.time, pulse_s=0.02) as tenure:
        tenure.open(["m"], plan(1, 4), COLUMNS, RUN_ID).recover()
        indexed.clear()  # it was looked for
        checkpoint = LogCheckpoint(
            store,
            ["m"],
            plan(1, 4),
            COLUMNS,
            RUN_ID,
            writer="w",
            logbook=logbook_of(tenure.place, RUN_ID),
        )
        checkpoint.open_shard("m", 0)
        checkpoint.commit("m", 0, [record(n) for n in range(4)])
        checkpoint.close_shard("m", 0)
        assert indexed.wait(20)
        tenure.taken.set()
    store.calls.clear()
    assert 4 == sum(log.summary.rows for log in Logbook(store, RUN_ID).read().values() if log.summary)
    assert {"get": 1, "list": 1} == dict(store.calls)


def test_without_a_pulse_the_run_is_taken_over() -> None:
    """A session elsewhere whose pulse stands still holds nobody up for longer than the listening."""
    store = MemoryStore()
    other_session(store, 1)
    store.put(pulse_key(1), b"7 1.0")
    run = StoredRun(store)
    assert last_seen_holder(run, time.time()) is None
    held(run)
    assert ELSEWHERE.pid != msgspec.json.decode(store.objects[holder_key(2)], type=Holder).pid


def test_a_killed_session_may_have_lost_a_group_of_the_log() -> None:
    """A report's bound on answers asked for again has the group of a commit log, not that of a journal."""
    store = MemoryStore()
    other_session(store, 1)
    store.put(pulse_key(1), b"7 1.0")
    session = Session(started_at="2026-11-22T00:00:00+00:00", in_flight=3)
    manifest = msgspec.structs.replace(MANIFEST, sessions=(session,))
    activity = report_on(StoredRun(store), manifest, name="eval", directory="s3://bucket/eval").activity
    assert activity is not None
    assert (False, 1, 3 + LOG_GROUP_ROWS) == (activity.running, activity.killed, activity.repeated_at_most)


@pytest.mark.parametrize("how", ["ended", "died here"])
def test_who_is_known_to_be_gone_is_not_waited_for(how: str) -> None:
    """After an orderly end, or a death on this machine, a start does not listen at all."""
    store = MemoryStore()
    gone = 2**22 + 1  # beyond the largest process id
    other_session(store, 1, Holder(gone, socket.gethostname()) if how == "died here" else ELSEWHERE)
    if how == "ended":
        store.put(end_key(1), b"{}")
    with ExitStack() as stack:
        stack.enter_context(hold_stored(StoredRun(store), now=time.time, listen_s=3600))
    assert holder_key(2) in store.objects


def test_who_was_taken_over_notices() -> None:
    """A later session's number is seen at the next pulse, and the run stops early instead of paying on."""
    store = MemoryStore()
    with hold_stored(StoredRun(store), now=time.time, pulse_s=0.02) as tenure:
        assert not tenure.taken.is_set()
        other_session(store, 2)
        assert tenure.taken.wait(100)


def test_who_begins_nothing_holds_nobody_up() -> None:
    """A session that was refused for its job says its end, so that the next start does not listen for it."""
    store = MemoryStore()
    held(StoredRun(store))
    assert end_key(1) in store.objects


def test_a_foreign_prefix_is_left_alone() -> None:
    """A place that holds something else is refused by the name of what it holds, and nothing is written."""
    store = MemoryStore()
    store.put("thesis.docx", b"mine")
    with pytest.raises(RunDirectoryError, match=r"not a run directory: .* holds thesis.docx"):
        held(StoredRun(store))
    assert {"thesis.docx": b"mine"} == store.objects


def test_a_store_without_preconditions() -> None:
    """It is refused to many writers with the reason, and one writer is told what its safety rests on."""
    store = MemoryStore(preconditions=False)
    with pytest.raises(RunDirectoryError, match="ignores preconditions") as caught:
        held(StoredRun(store), shared=True)
    assert "--ray" in caught.value.hint
    tenure = held(StoredRun(store))
    assert ["ignores preconditions" in note for note in tenure.notes] == [True]
    assert isinstance(tenure.place, StoredRun)
    assert tenure.place.store.put_if_absent("a", b"1")
    assert not tenure.place.store.put_if_absent("a", b"2")
