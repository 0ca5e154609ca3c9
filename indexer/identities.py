"""What a DID document changes: handle, PDS and key of an account, its looks, and who has a handle.

A handle resolves to one DID at a time, so of two accounts that claim it the one that was looked up last
has it, and the other shows `handle.invalid` (rule D4). The loser is looked up again at once: should its
answer have been the newer one, it gets the handle back, and the order in which answers came does not matter:

    ana has h, h is given to ben     ben looked up: has h;  ana looked up: has none
    … an older answer for ana comes  ana has h;  ben looked up: has h;  ana looked up: has none

An answer out of the cache takes nothing from anybody.

Of an account that moved, what its old host said last may never have reached the new one: its repo is read
there, whatever we hold (rule C11).
"""

from __future__ import annotations

from datetime import datetime

from firehose.identity import IdentityDoc
from indexer.doubts import Suspicion, raise_doubts
from indexer.profiles import refresh_profiles
from indexer.replay import refresh_cards
from lexicons.catalog import Catalog
from lexicons.syntax import Handle
from storage import accounts, decisions, repos
from storage.decisions import Decision
from storage.outbox import Entry, Kind
from storage.postgres import Connection
from storage.repos import Claimant

SOURCE = "identity"


async def settle_identity(
    conn: Connection, doc: IdentityDoc, catalog: Catalog, *, lease: datetime | None, due_s: float | None
) -> list[Entry]:
    """Store a document that was looked up, with all that follows from it; the caller appends the entries.

    `due_s`: the document is that old already that it must be looked up again then. Must be the first
    that its transaction does, for the order of locks. Nothing happens if we don't track the account.
    """
    claimants = await repos.lock_claimants(conn, doc.did, doc.handle)
    before = next((c for c in claimants if c.did == doc.did), None)
    if before is None:
        return []
    holder = next((c for c in claimants if c.did != doc.did), None)
    handle = doc.handle if holder is None or due_s is None else None
    if doc.unchecked is not None and doc.unchecked == before.handle:
        handle = before.handle  # cannot tell never means gone
    entries: list[Entry] = []
    if holder is not None and handle is not None:
        await repos.release_handle(conn, holder.id)
        await refresh_profiles(conn, [holder.id], catalog)
        reason = f"the handle {handle} belongs to {doc.did} now"
        await decisions.add(conn, [Decision(holder.did, "identity", "handle.invalid", reason, SOURCE)])
        entries.append(_entry(holder, None, holder.pds, holder.signing_key))
    await repos.save_identity(
        conn, before.id, handle=handle, pds=doc.pds, signing_key=doc.signing_key, lease=lease, due_s=due_s
    )
    if changes := differences(before, handle, doc):
        reason = "; ".join(changes)
        await decisions.add(conn, [Decision(doc.did, "identity", handle or "handle.invalid", reason, SOURCE)])
        entries.append(_entry(before, handle, doc.pds, doc.signing_key))
    if before.handle != handle:
        await refresh_profiles(conn, [before.id], catalog)
    if before.pds != doc.pds:
        if before.pds is not None:
            entries += await _doubt_history(conn, doc, before.pds)
        await refresh_cards(conn, before.id, catalog)
        if not before.active:  # said by a host that it has left
            await accounts.check(conn, [doc.did])
    return entries


async def _doubt_history(conn: Connection, doc: IdentityDoc, old: str) -> list[Entry]:
    standings = await repos.lock(conn, [doc.did])
    reason = f"it moved: what {old} said of it last need not be in its repo at {doc.pds or 'the next host'}"
    return await raise_doubts(conn, [Suspicion(doc.did, "moved", reason, forked=True)], standings, SOURCE)


def differences(before: Claimant, handle: Handle | None, doc: IdentityDoc) -> list[str]:
    """What is new in a document, in words. Pure."""
    found: list[str] = []
    if before.handle != handle:
        shown = handle or "handle.invalid"
        found.append(f"the handle is {shown}" + (f", it was {before.handle}" if before.handle else ""))
        if doc.handle is not None and handle is None:
            found.append(f"{doc.handle} is another account's until it is looked up again")
    if before.pds != doc.pds:
        found.append(f"the PDS is {doc.pds or 'none'}" + (f", it was {before.pds}" if before.pds else ""))
    if before.signing_key != doc.signing_key:
        found.append("the signing key is another" if before.signing_key else "the signing key is known")
    return found


def _entry(account: Claimant, handle: Handle | None, pds: str | None, signing_key: str | None) -> Entry:
    detail = {"handle": handle, "pds": pds, "signing_key": signing_key}
    return Entry(Kind.IDENTITY, SOURCE, did=account.did, detail=detail)
