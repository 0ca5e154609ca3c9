"""One batch, one transaction: records, projections, counters, sync states and the source's cursor.

Contract: either all of a batch is there, with the cursor behind it, or none of it. Applying a batch
again changes nothing, so whoever crashed before the commit just reads the same events once more.
What was decided goes into the outbox, in the same transaction.

In the usual case Postgres is asked three questions at once (`Prepared.opening`), and then told what to
write; while it works, the rows of the next table are put together. Repos that are not simply moving on
are locked and looked at one by one. Where the source is a PDS, it has a say about its own accounts alone
(rule B16); of others it tells only that somebody has to look.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from indexer import decide, happenings
from indexer.counts import counts_of, pairs_of
from indexer.decide import Change
from indexer.doubts import Suspicion, raise_doubts
from indexer.effects import Effects, effects_of
from indexer.prepare import Prepared
from indexer.profiles import refresh_profiles
from indexer.steps import Steps, current, steps_of
from lexicons.catalog import Catalog
from lexicons.records import List
from lexicons.syntax import Did
from storage import (
    accounts,
    cursors,
    decisions,
    discovery,
    intake,
    outbox,
    proofs,
    reconcile,
    records,
    rejected,
    repos,
    social,
    tracks,
)
from storage.intake import Intake, Repo, pack
from storage.outbox import Entry
from storage.postgres import Connection
from storage.records import RecordKey
from storage.rejected import Rejection
from storage.repos import NewRepo, Standing
from storage.social import RowKey
from storage.tracks import Names


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch came to. `changed` counts records, `expired` the accounts to look up."""

    changed: int
    expired: int


@dataclass(frozen=True, slots=True)
class _Taken:
    """Who is locked, where those stand that did not simply move on, and whose records we held. `strangers`
    are at home elsewhere than at the host that told of them: their part of the batch is passed over."""

    repos: dict[Did, Repo]
    standings: dict[Did, Standing]
    steps: Steps
    held: set[int]
    tracked: list[Entry]
    strangers: list[Did]
    doubts: list[Entry]


async def apply_batch(
    conn: Connection,
    batch: Prepared,
    *,
    catalog: Catalog,
    source: str,
    seq: int | None,
    identities: Iterable[NewRepo] = (),
    rejections: Sequence[Rejection] = (),
    host: str | None = None,
) -> Applied:
    """Commit a batch read from `source` up to `seq`. `host`: the source is the PDS of that origin.

    `identities` says under which key the batch's unknown accounts were verified: those with a record
    of ours in the batch are tracked from now on. Raises what psycopg raises, with nothing done.
    """
    async with conn.pipeline(), conn.transaction():
        opening = batch.opening()
        advanced = None
        if opening.runs is not None and opening.rows is not None:
            advanced = await intake.advance(conn, opening.runs, opening.rows, host)
        asked = await tracks.ask_names(conn, batch.uris) if batch.uris else None
        moved_on = await advanced.answer() if advanced else Intake({}, set())
        taken = await _catch_up(conn, batch, moved_on, identities, source, host)
        names = await asked.answer() if asked else Names({}, [])
        changed = await write_records(conn, batch, taken.repos, taken.standings, taken.held, names, catalog)
        if batch.accounts:
            await repos.expire_account(conn, batch.accounts, source)
        expired = [did for did in batch.identities if did in taken.repos] + taken.strangers
        if expired:
            await repos.expire_identity(conn, expired)
        if risen := _writing_again(batch, taken):
            await accounts.check(conn, risen)
        if batch.outdated:
            await reconcile.begin(conn, "all")
            await discovery.expire(conn)
        if kept := happenings.proofs_of(batch, changed):
            await proofs.add(conn, kept)
        if rejections:
            await rejected.add(conn, rejections)
        if seq is not None:
            await cursors.save(conn, source, seq)
        entries = [
            *taken.tracked,
            *happenings.named(names, source),
            *happenings.told(batch, taken.repos, taken.steps.moved, taken.standings, changed, source),
            *taken.doubts,
            *happenings.refused(rejections),
        ]
        await outbox.append(conn, entries)
    return Applied(len(changed), len(expired) + len(batch.accounts) + len(taken.tracked) + len(risen))


def _writing_again(batch: Prepared, taken: _Taken) -> list[Did]:
    """Deleted accounts with commits that moved them: they began anew unheard, or what came was merely late,
    and asking their PDS tells which; what was late is then erased like the rest."""
    gone = (did for did, standing in taken.standings.items() if standing.status == "deleted")
    return [did for did in gone if did in batch.history]


async def _catch_up(
    conn: Connection,
    batch: Prepared,
    moved_on: Intake,
    identities: Iterable[NewRepo],
    source: str,
    host: str | None,
) -> _Taken:
    """Lock who did not simply move on, track who is new, and work through their events."""
    tracked: list[Entry] = []
    behind = [did for did in batch.dids if did not in moved_on.repos]
    standings = await repos.lock(conn, behind) if behind else {}
    new = [i for i in identities if i.did in batch.discovered and i.did not in moved_on.repos]
    new = [i for i in new if i.did not in standings]
    if new:
        tracked = happenings.tracked(await repos.track(conn, new), new, source)
        standings |= await repos.lock(conn, [i.did for i in new])
    strangers = [did for did, s in standings.items() if did in batch.history and _is_elsewhere(s, host)]
    doubts = await raise_doubts(
        conn, [_stranger(did, standings[did], host) for did in strangers], standings, source
    )
    standings = {did: standing for did, standing in standings.items() if did not in strangers}
    steps = steps_of(batch, standings, source)
    held = set(moved_on.held)
    if standings:
        rows = [row for row in batch.rows(standings) if current(row.rev, standings[row.did])]
        if rows:
            held |= await (await intake.add(conn, pack(rows))).answer()
    if steps.states:
        await repos.save_sync(conn, steps.states)
    await decisions.add(conn, steps.decisions)
    known = moved_on.repos | {did: standing.repo for did, standing in standings.items()}
    return _Taken(known, standings, steps, held, tracked, strangers, doubts)


def _is_elsewhere(standing: Standing, host: str | None) -> bool:
    return host is not None and standing.repo.pds is not None and standing.repo.pds != host


def _stranger(did: Did, standing: Standing, host: str | None) -> Suspicion:
    reason = f"{host} tells of it, though its home is {standing.repo.pds}; looked up, and read there"
    return Suspicion(did, "another host", reason)


async def write_records(
    conn: Connection,
    batch: Prepared,
    known: Mapping[Did, Repo],
    standings: Mapping[Did, Standing],
    held: Container[int],
    names: Names,
    catalog: Catalog,
) -> list[Change]:
    """What the candidates change, written with its projections and counters.

    `known` are the locked accounts. Candidates that are not `held` have been added; of the others the
    newest version stays. `names` gets the numbers that were missing.
    """
    collections = catalog.collections
    keys = [
        RecordKey(known[c.did].id, c.collection, c.rkey) for n, c in enumerate(batch.candidates) if n in held
    ]
    stored = await records.get_many(conn, keys) if keys else {}
    changed = decide.changes(batch, known, standings, held, stored, collections)
    if not changed:
        return []
    if newer := decide.newer_rows(changed):
        await records.replace(conn, newer)
    await project(conn, changed, names, catalog)
    return changed


async def project(conn: Connection, changed: list[Change], names: Names, catalog: Catalog) -> None:
    """What changed records do to the projections and counters. `names` gets the numbers that were missing."""
    collections = catalog.collections
    await tracks.intern(conn, decide.mentioned(changed, collections), names)
    pairs = pairs_of(changed, names.ids, collections)
    asked = await social.ask_likes(conn, pairs) if pairs else None
    numbers = await write(conn, effects_of(changed, names.ids, collections), catalog)
    for x in changed if numbers else ():
        number = numbers.get(RowKey(x.repo.id, x.candidate.rkey))
        if number is not None and isinstance(x.candidate.record, List):
            names.lists[x.candidate.uri] = number
    likes = await asked.answer() if asked else {}  # as they were: Postgres answers in the order of questions
    if moved := counts_of(changed, names.ids, likes, collections):
        await tracks.count(conn, moved)


async def write(conn: Connection, out: Effects, catalog: Catalog) -> dict[RowKey, int]:
    """Write the projections' rows; what goes away goes first. Returns the numbers of new lists."""
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
    numbers = await social.put_lists(conn, out.lists) if out.lists else {}
    if out.profiles:
        await refresh_profiles(conn, out.profiles, catalog)
    return numbers
