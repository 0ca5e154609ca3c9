"""Records that we wrote ourselves, by the word of their PDS: shown at once, proven by their echo.

    putRecord answers {uri, cid, commit.rev} ─▶ take_in: a version at that rev, unproven, told as such
    … the firehose brings the same commit ─▶ the same version, proven: its row says so from then on

Contract: this is a version like any other, so the newest rev wins here, too: an echo that came first leaves
nothing to do, and a newer version that is known already stays. What is known of the repo's history does not
move, for nobody has proven anything yet: the echo is what continues it. An echo that never comes leaves a row
that says that it is unproven; `doubt_unproven` has the repo read whole then.
"""

from __future__ import annotations

from dataclasses import dataclass

from firehose.events import Action, RecordOp, Unproven
from indexer.apply import apply_batch
from indexer.doubts import Suspicion, raise_doubts
from indexer.prepare import Prepared
from lexicons.catalog import Catalog
from lexicons.syntax import AtUri, Cid, Did, Nsid, Rev, Rkey
from storage import outbox, records, repos
from storage.postgres import Connection
from storage.repos import NewRepo

SOURCE = "own write"


@dataclass(frozen=True, slots=True)
class OwnWrite:
    """What a PDS said that it did. `cid` and `block`, the record's DAG-CBOR, are None for a delete."""

    did: Did
    collection: Nsid
    rkey: Rkey
    rev: Rev
    action: Action
    cid: Cid | None
    block: bytes | None

    @property
    def uri(self) -> AtUri:
        return AtUri(f"at://{self.did}/{self.collection}/{self.rkey}")


async def take_in(
    conn: Connection, written: OwnWrite, catalog: Catalog, *, newcomer: NewRepo | None = None
) -> bool:
    """Index it, in the caller's transaction or one of its own; whether that changed anything. An account that
    nobody knew is tracked from now on, as `newcomer` or with an identity that is to be looked up."""
    op = RecordOp(written.action, written.collection, written.rkey, written.cid, written.block)
    batch = Prepared()
    batch.write(Unproven(0, written.did, written.rev, "", op), catalog)
    identity = newcomer or NewRepo(written.did, None, None)
    applied = await apply_batch(conn, batch, catalog=catalog, source=SOURCE, seq=None, identities=[identity])
    return applied.changed > 0


async def doubt_unproven(conn: Connection, *, before: Rev, limit: int = 100) -> int:
    """Have repos read in which a record from before this rev is still unproven; how many that were. Whoever
    is due anyway is left alone."""
    async with conn.transaction():
        standings = await repos.lock(conn, await records.unproven(conn, before=before, limit=limit))
        reason = "a record of theirs was never proven: its echo did not come"
        doubts = [Suspicion(did, "unproven", reason) for did in standings]
        entries = await raise_doubts(conn, doubts, standings, SOURCE)
        await outbox.append(conn, entries)
    return len(entries)
