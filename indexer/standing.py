"""What an account's standing does to the tables: in sight or not, taken down by us, or gone for good.

Everything here writes, and tells the outbox's readers through the entries that it returns.
"""

from __future__ import annotations

from dataclasses import asdict

from firehose.events import Action
from indexer.chain import Gap
from indexer.profiles import refresh_profiles
from indexer.states import State, move
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Rev
from storage import accounts, decisions, outbox, repos, tracks
from storage.accounts import Due, Erased
from storage.decisions import Decision
from storage.outbox import Entry, Kind
from storage.postgres import Connection, Pool
from storage.repos import Standing

OURSELVES = "ourselves"
DELETED = "deleted"
ERASE = 2000  # records a transaction


async def show(conn: Connection, standing: Standing, *, active: bool, taken_down: str | None) -> None:
    """Put an account in sight or out of it, and what it likes and comments in or out of the counters.
    The caller has its row locked."""
    hidden = not active or taken_down is not None
    if await repos.hide(conn, standing.repo.id, hidden=hidden):
        await tracks.count_account(conn, standing.repo.id, -1 if hidden else +1)


async def take_down(conn: Connection, did: Did, reason: str | None) -> bool:
    """Our own decision about an account, None: lift it. False if we don't track the account, or if it
    already is so. Has a transaction of its own."""
    async with conn.transaction():
        standing = (await repos.lock(conn, [did])).get(did)
        if standing is None or standing.taken_down == reason:
            return False
        await accounts.take_down(conn, standing.repo.id, reason)
        await show(conn, standing, active=standing.active, taken_down=reason)
        verdict, why = ("up", "taken back") if reason is None else ("down", reason)
        await decisions.add(conn, [Decision(did, "takedown", verdict, why, OURSELVES)])
        await outbox.append(conn, [Entry(Kind.TAKEDOWN, OURSELVES, did=did, verdict=verdict, reason=why)])
    return True


async def begin_anew(conn: Connection, standing: Standing, last: Rev | None, source: str) -> list[Entry]:
    """What a deletion does to the repo at once; its records follow."""
    did = standing.repo.did
    state = move(State(standing.state), State.PENDING)
    gaps = () if standing.rev is None else (Gap(None, None, None, None),)
    await accounts.begin_anew(conn, standing.repo.id, gaps, last)
    reason = "the account is gone; should it come back, it begins anew"
    if state != standing.state:
        await decisions.add(conn, [Decision(did, "state", state, reason, source)])
    detail = {"gaps": [asdict(gap) for gap in gaps], "synced_rev": last}
    return [
        Entry(
            Kind.STATE,
            source,
            did=did,
            rev=standing.rev,
            verdict=state,
            reason=reason,
            detail=detail,
        )
    ]


async def erase(pool: Pool, due: Due, last: Rev | None, source: str, catalog: Catalog) -> None:
    """Make every record up to `last` a tombstone, a part at a time, and give the lease back. Whoever crashes
    in between lets the lease run out; then it is asked again, and this goes on if the account is still gone.
    If it came back meanwhile, what was not erased by then stays as it is."""
    after = ("", "")
    while last is not None:
        async with pool.connection() as conn, conn.transaction():
            if not await _is_gone(conn, due.did):
                return
            erased = await accounts.erase_records(conn, due.id, last, after, ERASE, catalog.collections)
            await outbox.append(conn, [_tombstone(due.did, x, source) for x in erased])
        if len(erased) < ERASE:
            break
        after = erased[-1].collection, erased[-1].rkey
    async with pool.connection() as conn, conn.transaction():
        if not await _is_gone(conn, due.did):
            return
        if last is not None:
            await accounts.erase_proofs(conn, due.id, last)
        await refresh_profiles(conn, [due.id], catalog)
        await accounts.erased(conn, due)


async def _is_gone(conn: Connection, did: Did) -> bool:
    """Whether the account is still deleted; its row is locked from here on."""
    standing = (await repos.lock(conn, [did])).get(did)
    return standing is not None and standing.status == DELETED


def _tombstone(did: Did, erased: Erased, source: str) -> Entry:
    return Entry(
        Kind.RECORD,
        source,
        did=did,
        rev=erased.rev,
        collection=erased.collection,
        rkey=erased.rkey,
        action=Action.DELETE,
        verdict="valid",
        reason="the account is gone",
    )
