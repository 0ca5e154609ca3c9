"""`fm.plyr.graph.*`: lists of tracks."""

from __future__ import annotations

from appview import cursors, views
from appview.errors import ListNotFound
from appview.service import Call, Handler
from appview.xrpc.addresses import find_actor, record_uris
from storage import feed, keyset, lists
from storage.lists import ListRow


async def get_list(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.POSITION)
    collections = call.service.catalog.collections
    found = await record_uris(call.reads, [call.params["list"]], collections.list)
    row = await lists.get(call.reads, *found[0]) if found else None
    if row is None:
        raise ListNotFound
    shown_lists, of_list = await call.labelled([row], _cards)
    if not shown_lists:
        raise ListNotFound
    page = await feed.in_list(call.reads, call.viewer, row.id, after, call.params["limit"])
    rows, labels = await call.labelled(page.rows, lambda row: views.cards_of_track(row[0]))
    viewer = views.like_prefix(call.viewer, collections)
    shown = views.tracks([track for track, _ in rows], viewer, labels, call.service.config.sounds)
    items = [views.list_item(track, position) for track, (_, position) in zip(shown, rows, strict=True)]
    return views.page(b"items", items, page.next, b'"list":' + views.list_view(row, of_list))


async def get_actor_lists(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.TIME_ID)
    actor = await find_actor(call)
    list_type = call.params.get("listType")
    page = await lists.by_actor(call.reads, actor.repo_id, list_type, after, call.params["limit"])
    rows, labels = await call.labelled(page.rows, _cards)
    return views.page(b"lists", [views.list_view(row, labels) for row in rows], page.next)


def _cards(row: ListRow) -> tuple[bytes, bytes]:
    return row.card, row.author


METHODS: dict[str, Handler] = {
    "graph.getList": get_list,
    "graph.getActorLists": get_actor_lists,
}
