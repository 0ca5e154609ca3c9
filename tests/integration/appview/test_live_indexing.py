"""From a signed commit through the indexer to a subscriber, and to the proof of what it was told."""

from __future__ import annotations

import psycopg

from appview.subscriber import LiveConfig
from firehose.events import Event
from indexer.apply import apply_batch
from indexer.prepare import prepare
from indexer.standing import take_down
from lexicons.catalog import Catalog
from tests.fakenet.referee import proven
from tests.fakenet.world import COMMENT, TRACK, Author, World, track
from tests.integration.appview.listener import listening
from tests.integration.appview.service import Server, served

RKEY = "3mpt222222222"


async def index(dsn: str, catalog: Catalog, authors: list[Author], *events: Event) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await apply_batch(
            conn,
            prepare(events, catalog),
            catalog=catalog,
            source="wss://relay.example",
            seq=None,
            identities=[author.identity for author in authors],
        )


async def proof_of(server: Server, uri: str) -> bytes:
    answer = await server.request("GET", "/xrpc/fm.plyr.sync.getRecordProof", params={"uri": uri})
    assert answer.status == 200, answer.body
    return answer.body


async def test_a_commit_is_told_and_what_is_told_can_be_proven(database: str, catalog: Catalog):
    ann = Author("ann")
    async with served(database, catalog) as server, listening(server.url, catalog, cursor=0) as listener:
        await index(database, catalog, [ann], ann.create(TRACK, RKEY, track("one")))
        told = await listener.next()
        assert (told["did"], told["action"], told["record"]["title"]) == (ann.did, "create", "one")

        await index(database, catalog, [ann], ann.update(TRACK, RKEY, track("two")))
        told = await listener.next()
        assert (told["action"], told["record"]["title"]) == ("update", "two")
        car = await proof_of(server, ann.uri(TRACK, RKEY))
        rev, record = proven(car, ann.did, f"{TRACK}/{RKEY}", ann.repo.key.did_key)
        assert (rev, record) == (told["rev"], told["record"])

        await index(database, catalog, [ann], ann.write(("delete", TRACK, RKEY, None)))
        told = await listener.next()
        assert (told["action"], told.get("record")) == ("delete", None)


async def test_who_folds_the_feed_holds_what_the_indexer_holds(database: str, catalog: Catalog):
    """Of several versions the greatest rev counts; refused and deleted ones count, and are no records."""
    world = World(3)
    events = [*world.begin(), *world.play(300)]
    held: dict[str, tuple[str, str | None]] = {}
    live = LiveConfig(ping_s=2)  # so that the end of it all is told soon
    async with (
        served(database, catalog, live=live) as server,
        listening(server.url, catalog, cursor=0) as listener,
    ):
        for start in range(0, len(events), 40):
            await index(database, catalog, world.authors, *events[start : start + 40])
        head, stored = await truth(database)
        message = await listener.next()
        while message["$type"] != "position" or message["seq"] < head:
            if message["$type"] == "record":
                uri = f"at://{message['did']}/{message['collection']}/{message['rkey']}"
                if uri not in held or message["rev"] > held[uri][0]:
                    held[uri] = (message["rev"], None if "invalid" in message else message.get("cid"))
            message = await listener.next()
    assert held == stored
    assert len(stored) > 50


async def truth(database: str) -> tuple[int, dict[str, tuple[str, str | None]]]:
    """The outbox's head, and rev and CID of each record that the indexer holds."""
    async with await psycopg.AsyncConnection.connect(database) as conn:
        head = await (await conn.execute("select seq from outbox_head")).fetchone()
        rows = await conn.execute(
            "select 'at://' || did || '/' || collection || '/' || rkey, record.rev, cid, invalid"
            " from record join repo on repo.id = repo_id"
        )
        stored = {uri: (rev, None if invalid else cid) for uri, rev, cid, invalid in await rows.fetchall()}
    assert head is not None
    return head[0], stored


async def test_a_takedown_is_told_and_takes_the_proof_away(database: str, catalog: Catalog):
    ann = Author("ann")
    async with served(database, catalog) as server, listening(server.url, catalog, cursor=0) as listener:
        await index(database, catalog, [ann], ann.create(TRACK, RKEY, track("one")))
        await listener.next()
        async with await psycopg.AsyncConnection.connect(database) as conn:
            await take_down(conn, ann.did, "asked to")
        told = await listener.next()
        assert (told["$type"], told["active"], told["status"]) == ("account", False, "takendown")
        await index(database, catalog, [ann], ann.create(COMMENT, RKEY, {"$type": COMMENT}))
        assert await listener.nothing()
        uri = ann.uri(TRACK, RKEY)
        answer = await server.request("GET", "/xrpc/fm.plyr.sync.getRecordProof", params={"uri": uri})
        assert answer.json["error"] == "RecordNotFound"
