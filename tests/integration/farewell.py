"""Ana and Ben, of whom Ana will ask to be forgotten; and what there is of her then, in tables and files."""

from __future__ import annotations

from pathlib import Path

from firehose.events import Event
from firehose.identity import IdentityDoc
from indexer import dumper
from indexer.apply import apply_batch
from indexer.archivist import seal_all
from indexer.forgetting import forget, wipe
from indexer.identities import settle_identity
from indexer.prepare import prepare
from lexicons.catalog import Catalog
from lexicons.syntax import Handle, Rkey
from storage import outbox, rejected, scans
from storage.outbox import Entry, Kind
from storage.postgres import Connection
from storage.rejected import Rejection
from storage.scans import Match, Target, Verdict
from tests.fakenet.world import COMMENT, LIKE, LIST, PROFILE, TRACK, WHEN, Author, album, comment, like, track

RELAY = "wss://relay.example/xrpc/com.atproto.sync.subscribeRepos"
CATALOG = Catalog.load()
R = [f"3mpt22222222{n}" for n in range(2, 8)]
TITLES = ("Unforgettable", "A Bio To Forget", "ana.example", "Album Of Oblivion")


async def applied(conn: Connection, author: Author, *events: Event) -> None:
    await apply_batch(
        conn,
        prepare(events, CATALOG),
        catalog=CATALOG,
        source=RELAY,
        seq=None,
        identities=[author.identity],
    )


async def dumped(conn: Connection, folder: Path) -> None:
    file = folder / "plyr-2026-11-28.parquet"
    await dumper.write(conn, CATALOG, file)


class Story:
    """Ana and Ben; what Ana did is to be forgotten. `popular`: Ben points at what she made."""

    def __init__(self, conn: Connection, folder: Path) -> None:
        self.conn = conn
        self.archive, self.dumps = folder / "archive", folder / "dumps"
        self.ana, self.ben = Author("ana"), Author("ben")

    async def play(self, *, popular: bool) -> None:
        conn, ana, ben = self.conn, self.ana, self.ben
        hers, another, his = ana.uri(TRACK, R[0]), ana.uri(TRACK, R[1]), ben.uri(TRACK, R[0])
        await applied(conn, ana, ana.create(TRACK, R[0], track("Unforgettable")))
        await applied(conn, ana, ana.create(TRACK, R[1], track("Unforgettable Too")))
        await applied(conn, ben, ben.create(TRACK, R[0], track("Ben's")))
        await applied(conn, ana, ana.create(LIKE, R[2], like(his)), ana.create(COMMENT, R[3], comment(his)))
        bio = {"$type": PROFILE, "bio": "A Bio To Forget", "createdAt": WHEN}
        await applied(conn, ana, ana.create(PROFILE, "self", bio))
        await applied(conn, ana, ana.create(LIST, R[4], album("Album Of Oblivion", [hers, his])))
        if popular:
            await applied(conn, ben, ben.create(LIKE, R[2], like(hers)))
            await applied(
                conn, ben, ben.create(COMMENT, R[3], comment(hers)), ben.create(COMMENT, R[4], comment(hers))
            )
            await applied(conn, ben, ben.create(LIST, R[5], album("Ben's Mix", [hers, his])))
        await seal_all(conn, self.archive, entries=5)
        await applied(conn, ana, ana.delete(TRACK, R[1]))
        doc = IdentityDoc(ana.did, Handle("ana.example"), "https://pds.example", ana.repo.key.did_key)
        async with conn.transaction():
            await outbox.append(conn, await settle_identity(conn, doc, CATALOG, lease=None, due_s=None))
        raw = b"\xff" + another.encode()
        await rejected.add(conn, [Rejection(RELAY, 7, None, "bad_frame", "not DAG-CBOR", raw, None)])
        async with conn.transaction():
            detail = {"digest": "00"}
            await outbox.append(conn, [Entry(Kind.REJECTED, RELAY, 7, block=raw, detail=detail)])
        await self.scanned(R[0])
        await dumped(conn, self.dumps)

    async def scanned(self, rkey: str) -> None:
        """A track of hers is taken for somebody's."""
        target = Target(self.ana.did, Rkey(rkey), 1, "5c" * 32, 180.0, 0)
        song = Match("Somebody", "Unforgettable")
        await scans.settle(self.conn, target, Verdict((song,), song, 1.0, "Unforgettable"))

    async def forget(self, *, came_back: bool = False) -> int:
        async with self.conn.transaction():
            return await forget(self.conn, self.ana.did, came_back=came_back)

    async def wipe(self, upto: int) -> None:
        await wipe(self.conn, self.ana.did, upto, archive=self.archive, dumps=self.dumps)
