"""`fm.plyr.feed.*`: tracks, and what people do with them."""

from __future__ import annotations

import orjson

from appview import cursors, views
from appview.errors import TrackNotFound
from appview.service import Call, Handler
from appview.xrpc.addresses import find_actor, record_uris
from storage import feed, keyset
from storage.feed import Page, TrackRow


async def _tracks(call: Call, page: Page[TrackRow]) -> bytes:
    viewer = views.like_prefix(call.viewer, call.service.catalog.collections)
    rows, labels = await call.labelled(page.rows, views.cards_of_track)
    shown = views.tracks(rows, viewer, labels, call.service.config.sounds)
    return views.page(b"tracks", shown, page.next)


async def _track_uris(call: Call, uris: list[str]) -> list[str]:
    collection = call.service.catalog.collections.track
    found = await record_uris(call.reads, uris, collection)
    return list(dict.fromkeys(f"at://{did}/{collection}/{rkey}" for did, rkey in found))


async def get_track(call: Call) -> bytes:
    uris = await _track_uris(call, [call.params["uri"]])
    page = await feed.XRPC.by_uris(call.reads, call.viewer, uris)
    rows, labels = await call.labelled(page.rows, views.cards_of_track)
    if not rows:
        raise TrackNotFound
    viewer = views.like_prefix(call.viewer, call.service.catalog.collections)
    return b'{"track":%b}' % views.tracks(rows, viewer, labels, call.service.config.sounds)[0]


async def get_tracks(call: Call) -> bytes:
    uris = await _track_uris(call, call.params["uris"])
    return await _tracks(call, await feed.XRPC.by_uris(call.reads, call.viewer, uris))


async def get_latest(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.TIME_ID)
    return await _tracks(call, await feed.XRPC.latest(call.reads, call.viewer, after, call.params["limit"]))


async def get_top(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.COUNT_ID)
    return await _tracks(call, await feed.XRPC.top(call.reads, call.viewer, after, call.params["limit"]))


async def get_actor_tracks(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.TIME_ID)
    actor = await find_actor(call)
    page = await feed.XRPC.by_actor(call.reads, call.viewer, actor.repo_id, after, call.params["limit"])
    return await _tracks(call, page)


async def get_actor_likes(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.TIME_RKEY)
    actor = await find_actor(call)
    page = await feed.liked_by(call.reads, call.viewer, actor.repo_id, after, call.params["limit"])
    collections = call.service.catalog.collections
    rows, labels = await call.labelled(page.rows, lambda row: views.cards_of_track(row[0]))
    viewer = views.like_prefix(call.viewer, collections)
    shown = views.tracks([row[0] for row in rows], viewer, labels, call.service.config.sounds)
    did = actor.did.encode()
    likes = [
        views.liked_track(track, did, rkey, liked_at, collections)
        for track, (_, liked_at, rkey) in zip(shown, rows, strict=True)
    ]
    return views.page(b"likes", likes, page.next)


async def _find_track(call: Call) -> tuple[str, int]:
    """URI and number of the track of the parameter `uri`. Raises TrackNotFound."""
    uris = await _track_uris(call, [call.params["uri"]])
    track_id = await feed.track_id(call.reads, uris[0]) if uris else None
    if track_id is None:
        raise TrackNotFound
    return uris[0], track_id


async def get_likes(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.TIME_REPO)
    uri, track_id = await _find_track(call)
    page = await feed.likes_of(call.reads, track_id, after, call.params["limit"])
    rows, _ = await call.labelled(page.rows, lambda row: (row[0] or b"",))
    likes = [views.like(row, call.service.catalog.collections) for row in rows]
    return views.page(b"likes", likes, page.next, b'"uri":' + orjson.dumps(uri))


async def get_comments(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.MOMENT)
    uri, track_id = await _find_track(call)
    page = await feed.comments_of(call.reads, track_id, after, call.params["limit"])
    rows, labels = await call.labelled(page.rows, lambda row: (row[0] or b"", row[1] or b""))
    comments = [views.comment(row, labels) for row in rows]
    return views.page(b"comments", comments, page.next, b'"uri":' + orjson.dumps(uri))


async def search_tracks(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.RANK_ID)
    text, limit, spread = call.params["q"], call.params["limit"], await call.service.spreads.get()
    page = await feed.XRPC.search(call.reads, spread, call.viewer, text, after, limit)
    return await _tracks(call, page)


METHODS: dict[str, Handler] = {
    "feed.getTrack": get_track,
    "feed.getTracks": get_tracks,
    "feed.getLatest": get_latest,
    "feed.getTop": get_top,
    "feed.getActorTracks": get_actor_tracks,
    "feed.getActorLikes": get_actor_likes,
    "feed.getLikes": get_likes,
    "feed.getComments": get_comments,
    "feed.searchTracks": search_tracks,
}
