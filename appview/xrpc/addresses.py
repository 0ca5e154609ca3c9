"""From what callers name (handles, DIDs, AT-URIs) to what is stored."""

from __future__ import annotations

from collections.abc import Sequence

from appview.errors import ActorNotFound
from appview.service import Call
from lexicons.syntax import Nsid, parse_at_uri
from storage import people
from storage.people import Actor
from storage.reader import Reads


async def find_actor(call: Call) -> Actor:
    """The account of the parameter `actor`. Raises ActorNotFound."""
    actor = await people.actor(call.reads, call.params["actor"])
    if actor is None:
        raise ActorNotFound
    return actor


async def record_uris(reads: Reads, uris: Sequence[str], collection: Nsid) -> list[tuple[str, str]]:
    """DID and record key of those AT-URIs that name a record of the collection.

    Handles that we do not know lead nowhere. One question for all handles, none if there is no handle.
    """
    parts = [parse_at_uri(uri) for uri in uris]
    named = [part for part in parts if part.collection == collection and part.rkey is not None]
    handles = {part.authority for part in named if not part.authority.startswith("did:")}
    dids = await people.dids(reads, handles) if handles else {}
    found = [(dids.get(part.authority, part.authority), part.rkey or "") for part in named]
    return [(did, rkey) for did, rkey in found if did.startswith("did:")]
