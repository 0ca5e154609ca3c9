"""`fm.plyr.actor.*`: accounts."""

from __future__ import annotations

from appview import cursors, views
from appview.errors import ActorNotFound
from appview.service import Call, Handler
from storage import keyset, people


async def get_profile(call: Call) -> bytes:
    rows = await people.profiles(call.reads, [call.params["actor"]])
    if not rows:
        raise ActorNotFound
    return views.profile(rows[0])


async def get_profiles(call: Call) -> bytes:
    rows = await people.profiles(call.reads, call.params["actors"])
    return views.page(b"profiles", [views.profile(row) for row in rows], None)


async def search_actors(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.RANK_REPO)
    page = await people.search(call.reads, call.params["q"], after, call.params["limit"])
    return views.page(b"actors", [views.profile(row) for row in page.rows], page.next)


METHODS: dict[str, Handler] = {
    "actor.getProfile": get_profile,
    "actor.getProfiles": get_profiles,
    "actor.searchActors": search_actors,
}
