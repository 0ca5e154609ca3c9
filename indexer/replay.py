"""Projections from records alone: `rebuild` proves that they are what the records say, or mends them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from indexer import decide
from indexer.albums import album_id, slug
from indexer.apply import write
from indexer.decide import Change
from indexer.effects import effects_of
from indexer.prepare import Candidate, read
from indexer.profiles import refresh_profiles
from indexer.rest_card import card_rest
from lexicons.catalog import Catalog
from storage import rebuild, records, repos, social, tracks
from storage.intake import Repo
from storage.postgres import Connection
from storage.rebuild import Difference
from storage.records import LiveRecord, RecordKey
from storage.tracks import Rendered

CHUNK = 2000


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`records` were read; `differences` is empty if every projection was right."""

    records: int
    differences: list[Difference]


async def rebuild_projections(
    conn: Connection, catalog: Catalog, *, mend: bool = True, progress: Callable[[int], None] = lambda _: None
) -> Rebuilt:
    """Compute all projections and counters again and say what differed; with `mend`, put it right.

    Records are judged anew, too, so that a changed lexicon takes effect. One transaction: whoever
    reads meanwhile sees the old tables, whoever indexes waits.
    """
    own, bluesky = catalog.collections.own, catalog.collections.bsky_profile
    count = 0
    verdicts: list[tuple[RecordKey, str | None]] = []
    async with conn.transaction(force_rollback=not mend):
        await rebuild.begin(conn)
        chunk: list[LiveRecord] = []
        async for record in records.live(conn, (*own, bluesky)):
            chunk.append(record)
            if len(chunk) == CHUNK:
                verdicts += await _project(conn, chunk, catalog)
                count += len(chunk)
                progress(count)
                chunk.clear()
        verdicts += await _project(conn, chunk, catalog)
        count += len(chunk)
        progress(count)
        if verdicts:
            await records.judge(conn, verdicts)
        await refresh_profiles(conn, await repos.all_ids(conn), catalog)
        found = await rebuild.differences(conn)
        if mend and found:
            await rebuild.replace(conn)
    if verdicts:
        examples = tuple("/".join(map(str, key)) for key, _ in verdicts[: rebuild.EXAMPLES])
        found.insert(0, Difference("record", 0, 0, len(verdicts), examples))
    return Rebuilt(count, found)


async def refresh_cards(conn: Connection, repo_id: int, catalog: Catalog) -> None:
    """Render an account's track cards again: their audio may be on another PDS now, or taken down."""
    collections = catalog.collections
    changed = [_change(r, catalog) for r in await records.live_of_repo(conn, repo_id, collections.track)]
    if changed:
        ids = (await tracks.intern(conn, decide.mentioned(changed, collections))).ids
        await tracks.put(conn, effects_of(changed, ids, collections).tracks)


async def render_old(conn: Connection, *, limit: int) -> int:
    """Give some of the tracks from before the REST interface what it shows of them; how many those were. In
    the caller's transaction."""
    rows = await tracks.unrendered(conn, limit)
    made = [(row.id, card_rest(row.card, did=row.did, pds=row.pds)) for row in rows]
    if made:
        await tracks.render(
            conn,
            [
                Rendered(id, each.rest, each.features, each.album, each.album_id, each.file_id)
                for id, each in made
            ],
        )
    return len(made)


async def name_old_albums(conn: Connection, *, limit: int) -> int:
    """Give some of the lists from before albums had ids theirs; how many those were. In the caller's
    transaction."""
    rows = await social.unnamed_albums(conn, limit)
    await social.name_albums(conn, {id: album_id(did, slug(name)) for id, did, name in rows})
    return len(rows)


async def _project(
    conn: Connection, chunk: Sequence[LiveRecord], catalog: Catalog
) -> list[tuple[RecordKey, str | None]]:
    """Write the projections of some records; returns those whose validity is no longer as stored."""
    judged = [_change(record, catalog) for record in chunk]
    changed = [
        x
        for r, x in zip(chunk, judged, strict=True)
        if x.candidate.record is not None and r.taken_down is None
    ]
    uris = decide.mentioned(changed, catalog.collections)
    ids = (await tracks.intern(conn, uris)).ids if uris else {}
    out = effects_of(changed, ids, catalog.collections)
    out.profiles = set()  # they come once, at the end, and so do the counters
    await write(conn, out, catalog)
    return [
        (RecordKey(r.repo_id, r.collection, r.rkey), x.candidate.invalid)
        for r, x in zip(chunk, judged, strict=True)
        if r.invalid != x.candidate.invalid
    ]


def _change(record: LiveRecord, catalog: Catalog) -> Change:
    r = record
    candidate = Candidate(r.did, r.collection, r.rkey, r.rev, r.cid, r.block, verified=r.verified)
    repo = Repo(r.repo_id, r.did, r.pds, hidden=False, withheld=r.withheld or ())
    return Change(repo, read(candidate, catalog), before=r.rev, was=None, unlisted=r.unlisted is not None)
