"""Tracks of artists, and people who judge them: the tables, the labels and the log of one database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from appview.auth.keyring import KeyFile, KeyRing
from appview.moderation.actions import Action
from appview.moderation.cases import for_flagged, open_case
from appview.moderation.decisions import Decision, Policy, decide
from appview.moderation.labels import Labels
from appview.moderation.scanning import Flagged
from indexer.apply import apply_batch
from indexer.prepare import prepare
from lexicons.catalog import Catalog
from lexicons.subject import Subject, read_subject
from lexicons.syntax import Did, Nsid, Rkey
from storage import labels, scans
from storage import moderation as rows
from storage.moderation import Case, Event, OpenedBy, Proof
from storage.postgres import Connection
from storage.scans import Match, Target, Verdict
from tests.fakenet.world import TRACK, Author, track

CATALOG = Catalog.load()
SRC = Did("did:web:plyr.test")
MOD, ANOTHER = "did:plc:moderator", "did:plc:another"
RKEYS = [f"3mpt22222222{n}" for n in range(2, 8)]
MATCH = Match("New Order", "Blue Monday", offset_ms=350)
LABEL = "copyright-violation"


@dataclass
class Bench:
    dsn: str
    conn: Connection
    policy: Policy
    ann: Author = field(default_factory=lambda: Author("ann"))

    async def publish(self, *rkeys: str) -> list[str]:
        """Tracks of Ann's; their URIs."""
        return [await self.show(rkey) for rkey in rkeys]

    async def show(self, rkey: str, **more: Any) -> str:
        """A track of Ann's; its URI."""
        events = [self.ann.create(TRACK, rkey, track(f"Song {rkey}", **more))]
        await apply_batch(
            self.conn,
            prepare(events, CATALOG),
            catalog=CATALOG,
            source="wss://relay.example",
            seq=None,
            identities=[self.ann.identity],
        )
        return self.ann.uri(TRACK, rkey)

    async def decide(self, action: Action, subject: str, actor: str = MOD, **more: Any) -> Event:
        return await decide(
            self.conn, Decision(action, read_subject(subject), actor, Proof.SESSION, **more), self.policy
        )

    async def open(self, subject: str, reason: str | None = "copyright", **more: Any) -> int:
        return await open_case(
            self.conn, read_subject(subject), OpenedBy.REPORT, actor=ANOTHER, proof=Proof.SERVICE,
            reason=reason, **more,
        )  # fmt: skip

    async def flag(self, uri: str, sha256: str = "ab" * 32, match: Match = MATCH) -> int:
        """A scan of these bytes takes it for something else; the scan's id."""
        did, _, rkey = uri.removeprefix("at://").split("/")
        target = Target(Did(did), Rkey(rkey), 0, sha256, 180.0, 0)
        verdict = Verdict((match,), match, 1.0, "{}", (match.source,))
        async with self.conn.transaction():
            id = await scans.settle(self.conn, target, verdict)
            assert id is not None
            await for_flagged(Nsid(TRACK))(self.conn, Flagged(id, target, verdict))
        return id

    async def case(self, subject: str) -> Case:
        found = await rows.latest(self.conn, subject)
        assert found is not None
        return found

    async def history(self, subject: str) -> list[str]:
        """What was done, oldest first."""
        return [event.action for event in reversed(await rows.history(self.conn, subject))]

    async def labels(self, uri: str) -> list[str]:
        return [row.val for row in await labels.active(self.conn, [uri], [SRC])]

    async def is_shown(self, uri: str) -> bool:
        """Whether it is among the tracks."""
        did, _, rkey = uri.removeprefix("at://").split("/")
        query = (
            "select exists (select from track t join repo r on r.id = t.repo_id where did = %s and rkey = %s)"
        )
        (found,) = await self.rows(query, did, rkey)
        return bool(found[0])

    async def rows(self, query: Any, *params: object) -> list[tuple[Any, ...]]:
        cursor = await self.conn.execute(query, params)
        return await cursor.fetchall() if cursor.description else []


def subject(text: str) -> Subject:
    return read_subject(text)


@asynccontextmanager
async def judging(dsn: str, folder: Path, **policy: Any) -> AsyncIterator[Bench]:
    said_by = Labels(KeyRing(KeyFile(folder / "keys" / "encryption.keys")), SRC)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await said_by.begin(conn)
        yield Bench(dsn, conn, Policy(CATALOG, said_by, **policy))
