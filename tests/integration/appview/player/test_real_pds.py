"""What is asked of a PDS for artists and tracks of before, asked of a real one."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from appview.auth.acting import Actor
from appview.legacy import Legacy
from appview.own_records import OwnRecords
from appview.records import Swapped
from lexicons.syntax import Nsid, Rkey
from tests.devnet.network import Account, Devnet
from tests.integration.media.studio import Studio, did_of, studio

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

OLD, NEW, PROFILE = Nsid("app.relay.track"), Nsid("fm.plyr.track"), Nsid("fm.plyr.actor.profile")


@pytest_asyncio.fixture(loop_scope="module")
async def here(net: Devnet, database: str, tmp_path: Path) -> AsyncIterator[Studio]:
    async with studio(net, database, tmp_path) as here:
        yield here


@pytest_asyncio.fixture(loop_scope="module")
async def ann(net: Devnet) -> Account:
    return await net.account(f"a{secrets.token_hex(4)}")


async def listed(net: Devnet, account: Account, collection: str) -> dict[str, Any]:
    found = await net.list_records(account, collection)
    return {each.uri.rpartition("/")[2]: each.value for each in found}


async def test_tracks_of_before_are_taken_along_once(net: Devnet, here: Studio, ann: Account) -> None:
    old = {
        f"3m2aaaaaaa{letter}2a": {
            "$type": OLD, "title": f"Track {letter}", "artist": "Ann", "fileType": "mp3", "mood": 1,
            "createdAt": "2025-10-09T08:53:20Z", "audioUrl": "https://audio.test/1.mp3",
            "imageUrl": "https://img.test/1.png",
        }
        for letter in "abc"
    }  # fmt: skip
    for rkey, record in old.items():
        await net.put(ann, OLD, rkey, record)
    actor = Actor(did_of(ann), await here.sign_in(ann))
    legacy = Legacy(here.place, OLD)
    assert await legacy.count(actor) == (3, 3)
    moved = await legacy.move(actor)
    assert (moved.migrated, moved.failed, moved.remaining, moved.errors) == (3, 0, 0, [])
    assert await listed(net, ann, NEW) == {rkey: record | {"$type": NEW} for rkey, record in old.items()}
    assert await listed(net, ann, OLD) == old
    assert await legacy.count(actor) == (3, 0)
    # A crash before the answer was in the index: the PDS says that it is there.
    async with here.pool.connection() as conn:
        await conn.execute("delete from record")
    assert await legacy.count(actor) == (3, 3)
    assert (await legacy.move(actor)).migrated == 0


async def test_a_profile_is_made_once_and_then_changed(net: Devnet, here: Studio, ann: Account) -> None:
    own = OwnRecords(here.place, await here.sign_in(ann), did_of(ann), PROFILE)
    first = {"$type": PROFILE, "createdAt": "2026-01-01T00:00:00Z", "displayName": "Ann"}
    await own.write(Rkey("self"), first, fresh=True)
    with pytest.raises(Swapped):
        await own.write(Rkey("self"), first | {"displayName": "Eve"}, fresh=True)
    await own.rewrite(Rkey("self"), lambda record: record | {"bio": "Sings."})
    assert await listed(net, ann, PROFILE) == {"self": first | {"bio": "Sings."}}
    shown = "select display_name, bio from profile p join repo r on r.id = p.repo_id where r.did = %s"
    assert await here.one(shown, ann.did) == ("Ann", "Sings.")
