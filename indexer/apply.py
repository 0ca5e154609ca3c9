"""One batch, one transaction: records, projections, counters, sync states and the source's cursor.

Contract: either all of a batch is there, with the cursor behind it, or none of it. Applying a batch
again changes nothing, so whoever crashed before the commit just reads the same events once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from firehose.events import Account
from indexer import decide
from indexer.decide import Effects
from indexer.prepare import Prepared
from indexer.profiles import refresh_profiles
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import cursors, records, rejected, repos, social, tracks
from storage.postgres import Connection
from storage.rejected import Rejection
from storage.repos import NewRepo, Repo


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch came to. `changed` counts records, `expired` the identities to look up."""

    changed: int
    expired: int


async def apply_batch(
    conn: Connection,
    batch: Prepared,
    *,
    catalog: Catalog,
    source: str,
    seq: int | None,
    identities: Iterable[NewRepo] = (),
    rejections: Sequence[Rejection] = (),
) -> Applied:
    """Commit a batch read from `source` up to `seq`.

    `identities` says under which key the batch's unknown accounts were verified: those with a record
    of ours in the batch are tracked from now on. Raises what psycopg raises, with nothing done.
    """
    # In a pipeline Postgres writes one table while we put the rows of the next together; only what is
    # read is waited for.
    async with conn.pipeline(), conn.transaction():
        locked = await repos.lock(conn, batch.dids) if batch.dids else {}
        new = [i for i in identities if i.did in batch.discovered and i.did not in locked]
        if new:
            await repos.track(conn, new)
            locked |= await repos.lock(conn, [i.did for i in new])
        changed = await _records(conn, batch, locked, catalog)
        if states := decide.sync_states(batch, locked):
            await repos.save_sync(conn, states)
        for account in batch.accounts:
            await _account(conn, locked, account, source)
        expired = [did for did in batch.identities if did in locked]
        if expired:
            await repos.expire_identity(conn, expired)
        if rejections:
            await rejected.add(conn, rejections)
        if seq is not None:
            await cursors.save(conn, source, seq)
    return Applied(changed, len(expired) + len(new))


async def _records(conn: Connection, batch: Prepared, locked: dict[Did, Repo], catalog: Catalog) -> int:
    collections = catalog.collections
    keys = decide.keys_of(batch, locked)
    if not keys:
        return 0
    stored = await records.get_many(conn, keys)
    changed = decide.changes(batch, locked, stored, collections)
    if not changed:
        return 0
    if new := decide.record_rows(changed, known=False):
        await records.add(conn, new)
    if newer := decide.record_rows(changed, known=True):
        await records.replace(conn, newer)
    uris = decide.mentioned(changed, collections)
    ids = (await tracks.intern(conn, uris)).ids if uris else {}
    pairs = decide.pairs_of(changed, ids, collections)
    likes = await social.likes_of(conn, pairs) if pairs else {}
    await write(conn, decide.effects(changed, ids, likes, collections), catalog)
    return len(changed)


async def write(conn: Connection, out: Effects, catalog: Catalog) -> None:
    """Write the projections' rows; what goes away goes first."""
    if out.removed_tracks:
        await tracks.remove(conn, out.removed_tracks)
    if out.tracks:
        await tracks.put(conn, out.tracks)
    if out.removed_likes:
        await social.remove_likes(conn, out.removed_likes)
    if out.likes:
        await social.add_likes(conn, out.likes)
    if out.removed_comments:
        await social.remove_comments(conn, out.removed_comments)
    if out.comments:
        await social.put_comments(conn, out.comments)
    if out.removed_lists:
        await social.remove_lists(conn, out.removed_lists)
    if out.lists:
        await social.put_lists(conn, out.lists)
    if out.profiles:
        await refresh_profiles(conn, out.profiles, catalog)
    if out.counts:
        await tracks.count(conn, out.counts)


async def _account(conn: Connection, locked: dict[Did, Repo], event: Account, source: str) -> None:
    """`#account` hides or shows (rules C3, C4): `active` decides, `status` explains. An older word of
    the same source changes nothing (rule C9)."""
    repo = locked.get(event.did)
    if repo is None:
        return
    if repo.account_source == source and repo.account_seq is not None and event.seq <= repo.account_seq:
        return
    await repos.save_account(
        conn, repo.id, active=event.active, status=event.status, source=source, seq=event.seq
    )
    locked.update(await repos.lock(conn, [event.did]))
    if await repos.hide(conn, repo.id, hidden=not event.active):
        await tracks.count_account(conn, repo.id, +1 if event.active else -1)
