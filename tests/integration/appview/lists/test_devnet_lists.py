"""A list on a real PDS: fifty who put something into it at once, and one who deletes it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from appview.list_record import item, new_list, with_item, without
from appview.own_records import NoSuchRecord, OwnRecords
from appview.records import fresh_rkey, now_text
from appview.turns import Turns
from lexicons.syntax import Rkey
from tests.devnet.network import Devnet
from tests.fakenet.world import LIST, TRACK, ref
from tests.integration.media.studio import CATALOG, Studio, did_of, studio

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def here(devnet_packages: Path, database: str, tmp_path: Path) -> AsyncIterator[Studio]:
    async with Devnet(pds=1) as net, studio(net, database, tmp_path) as here:
        yield here


async def test_fifty_at_once_all_get_in_and_take_themselves_out_again(here: Studio) -> None:
    account = await here.net.account(f"a{secrets.token_hex(4)}")
    place = replace(here.place, turns=Turns())  # as patient as ever
    lists = OwnRecords(place, await here.sign_in(account), did_of(account), CATALOG.collections.list)
    rkey, then = fresh_rkey(), now_text()
    uris = [f"at://{account.did}/{TRACK}/{fresh_rkey()}" for _ in range(50)]

    async def add(uri: str) -> None:
        added = item(uri, ref(uri)["cid"])
        await lists.rewrite(rkey, lambda record: with_item(CATALOG, rkey, record, added, now_text()))

    async def items() -> int:
        return await here.one("select items from list where rkey = %s", rkey)

    await lists.write(rkey, new_list(CATALOG, rkey, "playlist", "Evenings", [], then))
    assert await items() == 0
    await asyncio.gather(*map(add, uris))
    [listed] = await here.net.list_records(account, LIST)
    assert sorted(each["subject"]["uri"] for each in listed.value["items"]) == sorted(uris)
    assert (listed.value["createdAt"], await items()) == (then, 50)
    await lists.rewrite(rkey, lambda record: without(CATALOG, rkey, record, uris[0], now_text()))
    assert await items() == 49
    await lists.remove(rkey)
    assert await here.net.list_records(account, LIST) == []
    assert await items() is None
    with pytest.raises(NoSuchRecord):
        await lists.rewrite(Rkey(rkey), lambda record: record)
