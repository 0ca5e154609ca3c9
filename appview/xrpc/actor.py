"""`fm.plyr.actor.*`: accounts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from appview import cursors, views
from appview.errors import ActorNotFound, InvalidRequest, MethodNotImplemented, SignInNeeded
from appview.rest.answers import Refused
from appview.rest.preferences import PreferencesUpdate, choices
from appview.service import Call, Handler
from indexer.cards import iso
from storage import keyset, people, preferences
from storage.forgotten import Left
from storage.people import ProfileRow
from storage.preferences import CHOICES, MAX_UI_BYTES, TooMuch


async def get_profile(call: Call) -> bytes:
    profiles = await _profiles(call, await people.profiles(call.reads, [call.params["actor"]]))
    if not profiles:
        raise ActorNotFound
    return profiles[0]


async def get_profiles(call: Call) -> bytes:
    rows = await people.profiles(call.reads, call.params["actors"])
    return views.page(b"profiles", await _profiles(call, rows), None)


async def search_actors(call: Call) -> bytes:
    after = cursors.decode(call.params.get("cursor"), keyset.RANK_REPO)
    text, limit, spread = call.params["q"], call.params["limit"], await call.service.spreads.get()
    page = await people.search(call.reads, spread, text, after, limit)
    return views.page(b"actors", await _profiles(call, page.rows), page.next)


async def _profiles(call: Call, rows: Sequence[ProfileRow]) -> list[bytes]:
    kept, labels = await call.labelled(rows, lambda row: (row.card,))
    return [views.profile(row, labels) for row in kept]


async def get_preferences(call: Call) -> bytes:
    return _shown(await preferences.of(call.reads, call.require_asker().did))


async def put_preferences(call: Call) -> bytes:
    asker, pool = call.require_asker(), call.service.pool
    if pool is None:
        raise MethodNotImplemented("nobody's preferences are kept here")
    wished = {_NAMES[name]: value for name, value in call.input["preferences"].items() if name in _NAMES}
    try:
        chosen, ui_settings = choices(msgspec.json.decode(orjson.dumps(wished), type=PreferencesUpdate))
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from None
    except Refused:
        raise InvalidRequest("there is a NUL in it") from None
    try:
        async with pool.connection() as conn:
            return _shown(await preferences.put(conn, asker.did, chosen, ui_settings))
    except Left:
        raise SignInNeeded from None
    except TooMuch:
        raise InvalidRequest(f"uiSettings may take {MAX_UI_BYTES} bytes") from None


def _shown(held: preferences.Preferences) -> bytes:
    told: dict[str, Any] = {name: getattr(held, ours) for name, ours in _NAMES.items()}
    if held.terms_accepted_at is not None:
        told["termsAcceptedAt"] = iso(held.terms_accepted_at)
    return orjson.dumps({"preferences": {name: each for name, each in told.items() if each is not None}})


# The lexicon's names, and ours.
_NAMES = {re.sub(r"_(.)", lambda found: found[1].upper(), name): name for name in sorted(CHOICES)}
METHODS: dict[str, Handler] = {
    "actor.getPreferences": get_preferences,
    "actor.getProfile": get_profile,
    "actor.getProfiles": get_profiles,
    "actor.putPreferences": put_preferences,
    "actor.searchActors": search_actors,
}
