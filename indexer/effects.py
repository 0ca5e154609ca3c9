"""What changed records do to the projections: a row for each that is there, a key for each that went.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from indexer import albums, cards
from indexer.decide import Change
from indexer.prepare import Candidate
from indexer.rest_card import track_rest
from lexicons.catalog import Collections
from lexicons.records import Comment, Like, List, Track
from lexicons.syntax import AtUri, Did
from storage.search import fold
from storage.social import CommentRow, LikeKey, LikeRow, ListRow, RowKey
from storage.tracks import TrackRow


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


def effects_of(changed: Iterable[Change], ids: Mapping[AtUri, int], collections: Collections) -> Effects:
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
    return (
        albums.album_id(did, albums.slug(list_.name))
        if list_.list_type == albums.ALBUM and list_.name
        else None
    )


def _moment(c: Candidate) -> datetime:
    assert c.sort_at is not None
    return c.sort_at


def storable(text: str) -> str:
    """Postgres text has no NUL, though a record may (trap T20); the card keeps it, escaped."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
