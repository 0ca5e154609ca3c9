"""How an account looks: its handle, its `fm.plyr.actor.profile` and, where that says nothing, its
`app.bsky.actor.profile`. The lexicon of the first has no field for a name; one that is there all the same,
under the second's word for it and as long as that may be, counts (docs/decisions/025)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from indexer.cards import profile_card
from indexer.effects import storable
from indexer.withheld import leads_to
from lexicons.catalog import Catalog
from lexicons.records import BskyProfile, Profile, parse_record
from lexicons.scalars import Invalid, string
from lexicons.syntax import Did, Handle, InvalidSyntax, Rkey, parse_datetime
from storage import records, social
from storage.postgres import Connection
from storage.search import fold
from storage.social import ProfileRow

# Bluesky's image service makes a picture of a profile's avatar blob, whatever PDS holds it.
AVATAR_URL = "https://cdn.bsky.app/img/avatar/plain/{did}/{cid}@jpeg"
DISPLAY_NAME = "displayName"
_check_name = string({"minLength": 1, "maxLength": 640, "maxGraphemes": 64})


async def refresh_profiles(conn: Connection, repo_ids: Iterable[int], catalog: Catalog) -> None:
    """Compute the `profile` rows of these accounts again, from their records and handles."""
    collections = catalog.collections
    sources = await records.profiles(conn, repo_ids, (collections.profile, collections.bsky_profile))
    accounts = {s.id: s for s in sources}
    own: dict[int, Profile] = {}
    bluesky: dict[int, BskyProfile] = {}
    for s in sources:
        if s.collection is None or s.block is None:
            continue
        match parse_record(catalog, s.collection, Rkey("self"), s.block):
            case Profile() as profile:
                own[s.id] = profile
            case BskyProfile() as profile:
                bluesky[s.id] = profile
            case other:
                raise TypeError(f"{s.collection} held a {type(other).__name__}")
    rows = [
        profile_row(id, s.did, s.handle, own.get(id), bluesky.get(id), s.withheld or ())
        for id, s in accounts.items()
    ]
    if rows:
        await social.put_profiles(conn, rows)


def profile_row(
    repo_id: int,
    did: Did,
    handle: Handle | None,
    own: Profile | None,
    bluesky: BskyProfile | None,
    withheld: Collection[str] = (),
) -> ProfileRow:
    """One account's looks, without a picture that is `withheld`. Pure."""
    display_name = (own and own_name(own.raw)) or (bluesky.display_name if bluesky else None) or None
    avatar = own.avatar if own else None
    if avatar is None and bluesky is not None and bluesky.avatar is not None:
        avatar = AVATAR_URL.format(did=did, cid=bluesky.avatar.cid)
    if leads_to(avatar, withheld):
        avatar = None
    bio = (own.bio if own else None) or (bluesky.description if bluesky else None)
    return ProfileRow(
        repo_id=repo_id,
        display_name=display_name and storable(display_name),
        avatar=avatar,
        bio=bio and storable(bio),
        created_at=_moment(own.created_at) if own else None,
        card=profile_card(did, handle, display_name, avatar),
        search=storable(fold(f"{handle or ''} {display_name or ''}")),
    )


def own_name(profile: Mapping[str, Any]) -> str | None:
    """The name in a profile record of ours, if it is one."""
    name = profile.get(DISPLAY_NAME)
    try:
        _check_name(name)
    except Invalid:
        return None
    return str(name)


def _moment(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except InvalidSyntax:
        return None  # a date that no calendar has, legal in the syntax
