"""What a batch changes. Pure: states in, rows out; `apply` reads before and writes after.

Contract: for every record the version with the highest rev wins, whatever the order and number of
deliveries; a delete is a version, too (a tombstone with its rev). So

    create r1, delete r3, create r2 (late)   ends deleted, at r3
    create r1, delete r2, create r3          ends created, at r3

Counters follow changed rows only: a like counts when the first like of that account for that track
appears and until the last one goes.

The one exception is what a whole read found to be of another history than the repo's: its version goes
`over` what we hold up to a higher rev.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from firehose.events import Commit, Sync
from indexer import albums, cards
from indexer.chain import Chain, doubt, extend, is_foreign, observe
from indexer.prepare import Candidate, Doubt, Move, Prepared, track_uri
from indexer.rest_card import track_rest
from indexer.states import State, move
from lexicons.catalog import Collections
from lexicons.datamodel import decode
from lexicons.records import Comment, Like, List, Track
from lexicons.syntax import AtUri, Did, Rev, Rkey
from storage.decisions import Decision
from storage.intake import Repo
from storage.records import RecordKey, RecordRow, Stored
from storage.repos import Standing, SyncState
from storage.search import fold
from storage.social import CommentRow, LikeKey, LikeRow, ListRow, Pair, RowKey
from storage.tracks import StatDelta, TrackRow

ALBUM = "album"  # how such a list calls itself


@dataclass(frozen=True, slots=True)
class Change:
    """A record that really changes. `before` is the rev of the version or tombstone that we hold, and
    `was` the track that this version pointed at, if it was a like or comment of a track. `unlisted`: by our
    own decision it is listed nowhere."""

    repo: Repo
    candidate: Candidate
    before: Rev | None
    was: AtUri | None
    unlisted: bool = False


@dataclass(slots=True)
class Effects:
    """Rows to write, by table."""

    tracks: list[TrackRow] = field(default_factory=list[TrackRow])
    removed_tracks: list[int] = field(default_factory=list[int])
    likes: list[LikeRow] = field(default_factory=list[LikeRow])
    removed_likes: list[LikeKey] = field(default_factory=list[LikeKey])
    comments: list[CommentRow] = field(default_factory=list[CommentRow])
    removed_comments: list[RowKey] = field(default_factory=list[RowKey])
    lists: list[ListRow] = field(default_factory=list[ListRow])
    removed_lists: list[RowKey] = field(default_factory=list[RowKey])
    profiles: set[int] = field(default_factory=set[int])


@dataclass(slots=True)
class Steps:
    """Where repos stand after a batch: rows to save, decisions to tell, and the events that moved them, by
    `id()`."""

    states: list[SyncState] = field(default_factory=list[SyncState])
    decisions: list[Decision] = field(default_factory=list[Decision])
    moved: set[int] = field(default_factory=set[int])


def steps(batch: Prepared, standings: Mapping[Did, Standing], source: str) -> Steps:
    """Work through the events of those repos that did not simply move on."""
    out = Steps()
    for did, history in batch.history.items():
        standing = standings.get(did)
        if standing is None:
            continue
        before = chain = Chain.of(standing.rev, standing.data, standing.gaps or [])
        last = history[0]
        for event in history:
            after = _step(chain, event, standing)
            if after != chain:
                out.moved.add(id(event))
                chain, last = after, event
        if chain == before or chain.rev is None or chain.data is None:
            continue
        was = State(standing.state)
        # A resync that is going on, or failed, is not undone by what the stream says, unless all is well.
        state = was if was in (State.RESYNCING, State.ERROR) and chain.gaps else move(was, chain.state)
        out.states.append(SyncState(standing.repo.id, chain.rev, chain.data, chain.gaps, state))
        if state is not was:
            why = _why(state, chain, last, standing)
            out.decisions.append(Decision(did, "state", state, why, source, last.seq))
    return out


def _step(chain: Chain, event: Move, standing: Standing) -> Chain:
    match event:
        case Commit() if is_foreign(event.rev, standing.synced_rev, standing.forked_rev):
            return doubt(chain)
        case Commit():
            return extend(chain, event)
        case Sync():
            return observe(chain, event)
        case Doubt():
            settled = event.rev is not None and chain.rev is not None and event.rev <= chain.rev
            return chain if settled else doubt(chain)


def _why(state: State, chain: Chain, last: Move, standing: Standing) -> str:
    if isinstance(last, Doubt):
        return f"a commit could not be proven: {last.reason}, {last.detail}"
    if isinstance(last, Commit) and is_foreign(last.rev, standing.synced_rev, standing.forked_rev):
        return f"the commit of rev {last.rev} may be of a history that its PDS does not have"
    match state:
        case State.ACTIVE:
            return f"everything up to rev {chain.rev} came"
        case State.PENDING:
            return f"first seen at rev {chain.rev}, what came before is not known"
        case _ if isinstance(last, Sync):
            return f"the host says that the repo is at rev {last.rev} with other data than ours"
        case _:
            gap = chain.gaps[-1]
            return f"what leads from rev {gap.after} to rev {gap.until or '?'} did not come"


def current(rev: Rev, standing: Standing) -> bool:
    """Whether a commit can say something new: what the repo was at its last whole read is known, and what may
    be of another history is for the next one to tell."""
    return all(floor is None or rev > floor for floor in (standing.synced_rev, standing.forked_rev))


def changes(
    batch: Prepared,
    repos: Mapping[Did, Repo],
    standings: Mapping[Did, Standing],
    held: Container[int],
    stored: Mapping[RecordKey, Stored],
    collections: Collections,
) -> list[Change]:
    """The candidates that are new or beat what is stored. Records of accounts that we don't track fall
    away. `held` are the numbers of those whose key we hold in some version, which is in `stored`."""
    result: list[Change] = []
    for n, c in enumerate(batch.candidates):
        repo = repos.get(c.did)
        if repo is None or (c.did in standings and not current(c.rev, standings[c.did])):
            continue
        if n not in held:
            result.append(Change(repo, c, None, None))
            continue
        old = stored[RecordKey(repo.id, c.collection, c.rkey)]
        if old.rev > (c.over or c.rev) or (old.rev == c.rev and not _overrules(c, old)):
            continue
        if old.taken_down is not None:
            result.append(Change(repo, withheld(c), old.rev, None))
            continue
        was = pointed_at(old, collections)
        result.append(Change(repo, c, old.rev, was, old.unlisted is not None))
    return result


def withheld(c: Candidate) -> Candidate:
    """The version of a record that is taken down: kept as it is, while what is made of it is what is made of
    a deleted one."""
    return msgspec.structs.replace(c, record=None, subjects={}, card=None)


def pointed_at(old: Stored, collections: Collections) -> AtUri | None:
    """The track that a like or comment in the tables is of."""
    if old.block is None or old.invalid is not None:
        return None
    if old.collection not in (collections.like, collections.comment):
        return None
    return track_uri(decode(old.block)["subject"]["uri"], collections)


def _overrules(c: Candidate, old: Stored) -> bool:
    """At the same rev what is proven overrules hearsay, and a record that is there the tombstone of a
    deleted account that came back. (A commit as old as that tombstone is not `current`.)"""
    return (c.verified and not old.verified) or (old.block is None and c.block is not None and c.verified)


def newer_rows(changed: Iterable[Change]) -> list[RecordRow]:
    """Rows of the changes whose key we hold already."""
    return [
        RecordRow(x.repo.id, c.collection, c.rkey, c.rev, c.cid, c.block, c.verified, c.invalid, c.over)
        for x in changed
        if x.before is not None
        for c in [x.candidate]
    ]


def mentioned(changed: Iterable[Change], collections: Collections) -> set[AtUri]:
    """Every track URI that these changes need a number for."""
    uris = {x.was for x in changed if x.was is not None}
    for x in changed:
        uris.update(x.candidate.subjects.values())
        if x.candidate.collection == collections.track:
            uris.add(x.candidate.uri)
    return uris


def pairs_of(changed: list[Change], ids: Mapping[AtUri, int], collections: Collections) -> set[Pair]:
    """The (account, track) pairs whose likes must be known to count them right."""
    pairs: set[Pair] = set()
    for x in changed:
        if x.candidate.collection == collections.like:
            pairs.update(Pair(x.repo.id, ids[uri]) for uri in x.candidate.subjects.values())
            if x.was is not None:
                pairs.add(Pair(x.repo.id, ids[x.was]))
    return pairs


def effects(changed: Iterable[Change], ids: Mapping[AtUri, int], collections: Collections) -> Effects:
    """The projections' rows."""
    out = Effects()
    for x in changed:
        c, repo = x.candidate, x.repo
        if x.was is not None and c.collection == collections.like:
            out.removed_likes.append(LikeKey(repo.id, ids[x.was], c.rkey))
        subject = c.subjects.get(0)
        match c.record:
            case Track():
                out.tracks.append(track_row(c.record, x, ids[c.uri]))
            case Like():
                if subject is not None:
                    out.likes.append(LikeRow(repo.id, ids[subject], c.rkey, _moment(c)))
            case Comment():
                if subject is not None:
                    out.comments.append(comment_row(c.record, x, ids[subject]))
                elif x.was is not None:
                    out.removed_comments.append(RowKey(repo.id, c.rkey))
            case List():
                out.lists.append(list_row(c.record, x, ids))
            case _ if c.collection in (collections.profile, collections.bsky_profile):
                out.profiles.add(repo.id)
            case _ if c.collection == collections.track:
                out.removed_tracks.append(ids[c.uri])
            case _ if c.collection == collections.comment:
                out.removed_comments.append(RowKey(repo.id, c.rkey))
            case _ if c.collection == collections.list:
                out.removed_lists.append(RowKey(repo.id, c.rkey))
            case _:
                pass  # a like that went: its row is among removed_likes
    return out


def counts(
    changed: Iterable[Change],
    ids: Mapping[AtUri, int],
    likes: Mapping[Pair, set[Rkey]],
    collections: Collections,
) -> list[StatDelta]:
    """What the changes do to the counters. `likes` holds what `pairs_of` asked for, as it was before them."""
    counter = _Counter({pair: set(rkeys) for pair, rkeys in likes.items()})
    for x in changed:
        c, repo, visible = x.candidate, x.repo, not x.repo.hidden
        if x.was is not None:
            if c.collection == collections.like:
                counter.unlike(LikeKey(repo.id, ids[x.was], c.rkey), visible)
            else:
                counter.comment(ids[x.was], -1, visible)
        subject = c.subjects.get(0)
        if subject is not None and isinstance(c.record, Like):
            counter.like(LikeKey(repo.id, ids[subject], c.rkey), visible)
        elif subject is not None and isinstance(c.record, Comment):
            counter.comment(ids[subject], +1, visible)
    return counter.deltas()


def track_row(track: Track, x: Change, id: int) -> TrackRow:
    c = x.candidate
    assert c.cid is not None
    words = " ".join(filter(None, (track.title, track.artist, track.album)))
    card, pds, withheld = c.card, x.repo.pds, x.repo.withheld
    if card is None or withheld:  # it was rendered before anybody knew what is withheld
        card = cards.track_card(
            track, uri=c.uri, did=c.did, cid=c.cid, rev=c.rev, pds=pds, verified=c.verified, withheld=withheld
        )
    shown = track_rest(track.raw, uri=c.uri, did=c.did, cid=c.cid, pds=pds, withheld=withheld)
    return TrackRow(
        id=id,
        repo_id=x.repo.id,
        rkey=c.rkey,
        cid=c.cid,
        sort_at=_moment(c),
        indexed_at=cards.rev_time(c.rev),
        title=storable(track.title),
        card=card,
        search=storable(fold(words)),
        rest=shown.rest,
        features=shown.features,
        album=None if shown.album is None else storable(shown.album),
        album_id=shown.album_id,
        file_id=shown.file_id,
        unlisted=x.unlisted,
    )


def comment_row(comment: Comment, x: Change, track_id: int) -> CommentRow:
    c = x.candidate
    assert c.card is not None
    return CommentRow(
        repo_id=x.repo.id,
        rkey=c.rkey,
        track_id=track_id,
        timestamp_ms=comment.timestamp_ms,
        sort_at=_moment(c),
        card=c.card,
    )


def list_row(list_: List, x: Change, ids: Mapping[AtUri, int]) -> ListRow:
    c = x.candidate
    assert c.card is not None
    return ListRow(
        repo_id=x.repo.id,
        rkey=c.rkey,
        list_type=None if list_.list_type is None else storable(list_.list_type),
        name=None if list_.name is None else storable(list_.name),
        album_id=_album_id(list_, c.did),
        items=len(list_.items),
        sort_at=_moment(c),
        card=c.card,
        track_ids={n: ids[uri] for n, uri in c.subjects.items()},
    )


def _album_id(list_: List, did: Did) -> str | None:
    """Of a list that calls itself an album, and has a name."""
    return albums.album_id(did, albums.slug(list_.name)) if list_.list_type == ALBUM and list_.name else None


def _moment(c: Candidate) -> datetime:
    assert c.sort_at is not None
    return c.sort_at


def storable(text: str) -> str:
    """Postgres text has no NUL, though a record may (trap T20); the card keeps it, escaped."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


class _Counter:
    """Net changes of the counters while a batch is worked through."""

    def __init__(self, likes: dict[Pair, set[Rkey]]) -> None:
        self._likes = likes
        self._net: dict[int, list[int]] = {}

    def _add(self, track_id: int, likes: int, comments: int, visible: bool) -> None:
        if visible:
            net = self._net.setdefault(track_id, [0, 0])
            net[0] += likes
            net[1] += comments

    def like(self, row: LikeKey, visible: bool) -> None:
        rkeys = self._likes.setdefault(Pair(row.repo_id, row.track_id), set())
        if not rkeys:
            self._add(row.track_id, +1, 0, visible)
        rkeys.add(row.rkey)

    def unlike(self, key: LikeKey, visible: bool) -> None:
        rkeys = self._likes.setdefault(Pair(key.repo_id, key.track_id), set())
        if rkeys == {key.rkey}:
            self._add(key.track_id, -1, 0, visible)
        rkeys.discard(key.rkey)

    def comment(self, track_id: int, change: int, visible: bool) -> None:
        self._add(track_id, 0, change, visible)

    def deltas(self) -> list[StatDelta]:
        return [StatDelta(id, *net) for id, net in sorted(self._net.items()) if any(net)]
