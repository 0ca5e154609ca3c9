"""From a request to an answer in four steps, the same for every route:

1. skeleton: which tracks, in which order, from where to where;
2. hydrate: what belongs to each, for all of them at once;
3. rules: what must not be seen, and how the viewer stands to the rest;
4. present: bytes.

Steps 1 to 3 are one statement each listing (`storage/sql/feed.sql`), so an answer costs one question, or
two where an account or a track is looked up first, whatever the page's length. Step 4 is here. Stored
cards are JSON members that the indexer rendered once; an answer is these and a few figures put end to
end. Nothing is parsed or rendered again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from appview import cursors
from appview.moderation.board import Shown
from appview.sound_origins import SoundOrigins
from lexicons.catalog import Collections
from lexicons.syntax import Did
from storage.feed import YES, CommentRow, LikeRow, TrackRow
from storage.keyset import Place
from storage.lists import ListRow
from storage.people import DetailedProfileRow, ProfileRow
from storage.reader import Cell


def like_prefix(viewer: Did | None, collections: Collections) -> bytes | None:
    """How the URIs of the viewer's likes begin."""
    return None if viewer is None else like_uri(viewer.encode(), b"", collections)


def like_uri(did: Cell, rkey: Cell, collections: Collections) -> bytes:
    # DIDs and record keys hold nothing that JSON would escape.
    return b"at://%b/%b/%b" % (did, collections.like.encode(), rkey)


def iso(time: Cell) -> bytes:
    """Postgres' text of a UTC time as the datetime of the lexicons."""
    return (time or b"").replace(b" ", b"T").replace(b"+00", b"Z")


def tracks(
    rows: Iterable[TrackRow], viewer: bytes | None, labels: Shown, sounds: SoundOrigins
) -> list[bytes]:
    """#trackView objects. `viewer` is what `like_prefix` gave."""
    out: list[bytes] = []
    shown = sounds.in_card
    for id_, card, author, plays, likes, comments, like, unlisted in rows:
        if viewer is None:
            mine = b"}"
        elif like is None:
            mine = b',"viewer":{}}'
        else:
            mine = b',"viewer":{"like":"%b%b"}}' % (viewer, like)
        if unlisted == YES:
            mine = b',"unlisted":true' + mine
        out.append(
            b'{"id":%b,%b,"author":{%b},"stats":{"plays":%b,"likes":%b,"comments":%b},"labels":%b%b'
            % (id_, shown(card or b""), author, plays, likes, comments, labels.record(card or b""), mine)
        )
    return out


def cards_of_track(row: TrackRow) -> tuple[bytes, bytes]:
    """The cards of a track and of its author."""
    return row[1] or b"", row[2] or b""


def liked_track(track: bytes, did: bytes, rkey: Cell, liked_at: Cell, collections: Collections) -> bytes:
    """A #likedTrackView."""
    uri = like_uri(did, rkey, collections)
    return b'{"uri":"%b","createdAt":"%b","track":%b}' % (uri, iso(liked_at), track)


def like(row: LikeRow, collections: Collections) -> bytes:
    """A #likeView."""
    actor, did, rkey, liked_at = row
    uri = like_uri(did, rkey, collections)
    return b'{"uri":"%b","createdAt":"%b","actor":{%b}}' % (uri, iso(liked_at), actor)


def comment(row: CommentRow, labels: Shown) -> bytes:
    """A #commentView."""
    card, author = row
    return b'{%b,"author":{%b},"labels":%b}' % (card, author, labels.record(card or b""))


def list_view(row: ListRow, labels: Shown) -> bytes:
    """A #listView."""
    said = labels.record(row.card)
    return b'{%b,"author":{%b},"itemCount":%b,"labels":%b}' % (row.card, row.author, row.items, said)


def list_item(track: bytes, position: int) -> bytes:
    """A #listItemView."""
    return b'{"position":%d,"track":%b}' % (position, track)


def profile(row: ProfileRow, labels: Shown) -> bytes:
    """A #profileView, or a #profileViewDetailed where the row has the figures."""
    more = [row.card]
    if row.bio is not None:
        more.append(b'"bio":' + orjson.dumps(row.bio.decode()))
    if row.created_at is not None:
        more.append(b'"createdAt":"%b"' % iso(row.created_at))
    if isinstance(row, DetailedProfileRow):
        more.append(b'"stats":{"tracks":%b,"likes":%b,"lists":%b}' % (row.tracks, row.likes, row.lists))
    more.append(b'"labels":' + labels.account(row.card))
    return b"{" + b",".join(more) + b"}"


def page(key: bytes, items: Sequence[bytes], after: Place | None, *more: bytes) -> bytes:
    """An answer of many: `{cursor?, …more, key: [items]}`."""
    head = [b'"cursor":"%b"' % cursors.encode(after)] if after is not None else []
    opening = b",".join([*head, *more, b'"%b":[' % key])
    return b"".join((b"{", opening, b",".join(items), b"]}"))
