"""The archive: sealing what happened, and computing every table anew from it.

The past is made up (`activity.py`): each event is a commit of one operation, as `ingest` would have told
the outbox. Its archive first fills empty tables (`--promote`), which then are compared with a second
replay (`--verify`); the world that made the past up says what has to be in them. Live tables that were
written by `ingest` are compared in tests, at a smaller size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from firehose.car import block_cid
from firehose.events import Action
from indexer.archivist import seal_all
from indexer.shadow import Replayed, replay
from lexicons.dagcbor import encode
from lexicons.datamodel import cid_str
from lexicons.syntax import AtUri, Did, Rev, tid_from_us
from storage import archive, outbox
from storage.outbox import Entry, Kind
from storage.postgres import Connection
from tests.bench import machine
from tests.bench.activity import COMMENT, LIKE, TRACK, Activity, Deed, cid, did
from tests.bench.database import Server
from tests.bench.measure import Contestant, Finding, Goal, Sample, require_equal
from tests.bench.options import Options

RELAY = "wss://relay.example/xrpc/com.atproto.sync.subscribeRepos"
START_US = 1_782_000_000_000_000
BATCH = 128


@dataclass(slots=True)
class Past:
    """What made-up accounts did, as entries; and what is true afterwards, in the plainest way there is."""

    accounts: int
    events: int
    live: dict[tuple[int, str, str], str | None] = field(default_factory=dict)
    heads: dict[int, tuple[Rev, str]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)

    def batches(self) -> Iterator[list[Entry]]:
        dids = [did(n) for n in range(1, self.accounts + 1)]
        activity = Activity(1, range(1, self.accounts + 1), dids)
        entries: list[Entry] = []
        for seq in range(self.events):
            now_us = START_US + seq * 1000
            deed = activity.next(now_us)
            entries += self._entries(deed, dids[deed.account - 1], Rev(tid_from_us(now_us, 1)), seq)
            if seq % BATCH == BATCH - 1:
                yield entries
                entries = []
        if entries:
            yield entries

    def _entries(self, deed: Deed, who: Did, rev: Rev, seq: int) -> Iterator[Entry]:
        since, before = self.heads.get(deed.account, (None, None))
        if since is None:
            known = {"id": deed.account, "pds": "https://pds.example", "signing_key": "did:key:z"}
            yield Entry(Kind.REPO, RELAY, did=who, detail=known)
        data = cid(rev)
        self.heads[deed.account] = (rev, data)
        subject = None if deed.record is None else deed.record.get("subject", {}).get("uri")
        uri = subject or (AtUri(f"at://{who}/{TRACK}/{deed.rkey}") if deed.collection == TRACK else None)
        if uri is not None and uri not in self.names:
            self.names[uri] = len(self.names) + 1
            yield Entry(Kind.NAME, RELAY, detail={"uri": uri, "id": self.names[uri]})
        detail = {"since": since, "cid": cid(data), "data": data, "prev_data": before}
        yield Entry(Kind.COMMIT, RELAY, seq, who, rev, detail=detail)
        block = None if deed.action is Action.DELETE else encode(deed.record)
        name = None if block is None else cid_str(block_cid(block))
        self.live[deed.account, deed.collection, deed.rkey] = None if block is None else (subject or uri)
        yield Entry(
            Kind.RECORD,
            RELAY,
            seq,
            who,
            rev,
            deed.collection,
            deed.rkey,
            deed.action,
            name,
            block,
            "valid",
        )

    def counts(self) -> dict[str, int]:
        """Rows that each table has to have; likes and comments as the counters' sums."""
        present = [key for key, uri in self.live.items() if uri is not None]
        of = {name: sum(key[1] == name for key in present) for name in (TRACK, LIKE, COMMENT)}
        return {
            "repos": len(self.heads),
            "records": len(self.live),
            "tracks": of[TRACK],
            "likes": of[LIKE],
            "comments": of[COMMENT],
            "counted": of[LIKE] + of[COMMENT],
        }


COUNTS = """
select (select count(*) from repo where state = 'active'), (select count(*) from record),
       (select count(*) from track), (select count(*) from "like"), (select count(*) from comment),
       (select sum(likes) + sum(comments) from track_stat)
"""


async def run(options: Options, server: Server) -> Finding:
    past = Past(options.size(10_000, 500), options.size(1_000_000, 50_000))
    dsn = await server.fresh("archive")
    folder = options.scratch / "archive"
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        entries = await _tell(conn, past)
        sealed = await _seal(conn, folder, entries)
        server.checkpoint()
        filled, fill = await _replay(server, dsn, folder, past.events, promote=True)
        row = await (await conn.execute(COUNTS)).fetchone()
        require_equal("rows", dict(zip(past.counts(), row or (), strict=True)), past.counts())
        require_equal("records", filled.records, len(past.live))
        server.checkpoint()
        verified, verify = await _replay(server, dsn, folder, past.events, promote=False)
        require_equal("differences after a replay", verified.differences, [])
        await conn.execute("update track set title = 'Another' where id = (select min(id) from track)")
        spoiled, again = await _replay(server, dsn, folder, past.events, promote=False)
        found = [(one.table, one.wrong, list(one.examples[0].columns)) for one in spoiled.differences]
        require_equal("a row changed by hand", found, [("track", 1, ["title"])])
        size = sum(one.bytes for one in await archive.segments(conn))
    return Finding(
        name="archive",
        title="a past of made-up commits, sealed and replayed",
        unit="event",
        contestants=(
            Contestant("replay --verify", (verify, again)),
            Contestant("replay --promote", (fill,)),
            Contestant("archive seal", (sealed,)),
        ),
        targets=(),
        goals=(
            Goal("replay, all included", min(verify.per_second, again.per_second), 12_000, "events/s"),
            Goal("the archive", size / past.events, 400, "bytes an event", at_most=True),
        ),
        gates=(
            f"{past.events:,} commits, {entries:,} entries: the tables hold what the made-up world says",
            "replayed once more they are equal, and a title changed by hand is found and named",
        ),
        notes=(
            f"{_bound(verify):,.0f} events/s is the most that idle cores could do, Postgres' time counted",
        ),
    )


def _bound(sample: Sample) -> float:
    """Events a second if nothing else ran here, and nobody waited for anybody."""
    return (os.cpu_count() or 1) * sample.per_cpu_second


async def _tell(conn: Connection, past: Past) -> int:
    """Tell the outbox the whole past; how many entries that were."""
    entries = 0
    await conn.execute("set synchronous_commit = off")
    for batch in past.batches():
        async with conn.transaction():
            await outbox.append(conn, batch)
        entries += len(batch)
    return entries


async def _seal(conn: Connection, folder: Path, entries: int) -> Sample:
    started, cpu = time.perf_counter(), time.process_time()
    await seal_all(conn, folder, entries=100_000)
    return Sample(
        entries, time.perf_counter() - started, time.process_time() - cpu, machine.peak_bytes(os.getpid())
    )


async def _replay(
    server: Server, dsn: str, folder: Path, events: int, *, promote: bool
) -> tuple[Replayed, Sample]:
    """One replay; its CPU time is that of all its processes, those of Postgres included."""
    started, cpu = time.perf_counter(), _cpu_seconds(server)
    answer = await replay(dsn, folder, "fm.plyr", promote=promote, workers=2)
    spent = _cpu_seconds(server) - cpu
    return answer, Sample(events, time.perf_counter() - started, spent, machine.peak_bytes(os.getpid()))


def _cpu_seconds(server: Server) -> float:
    # The server may be a child of ours, whose own time counts with the family's.
    ours = time.process_time() + machine.family_cpu_seconds(os.getpid())
    theirs = machine.family_cpu_seconds(server.pid)
    return (
        ours
        + theirs
        + (0 if server.pid in machine.children(os.getpid()) else machine.cpu_seconds(server.pid))
    )
