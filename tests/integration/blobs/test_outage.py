"""An S3 that goes away in the middle, and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from storage.blobs.s3 import S3Store
from storage.blobs.store import StoreDown
from tests.integration.blobs.conftest import SMALL
from tests.integration.blobs.test_contract import all_of, chunks, digest, key_of, names, noise
from tests.s3.fixtures import two_buckets
from tests.s3.server import Swift

DATA = noise(17_000_000)


async def interrupted(data: bytes, at: int, then: Callable[[], None]) -> AsyncIterator[bytes]:
    """The data; something happens when so many bytes of it have gone."""
    gone, done = 0, False
    async for chunk in chunks(data):
        if gone >= at and not done:
            then()
            done = True
        yield chunk
        gone += len(chunk)
    assert done


@pytest.fixture
def stoppable(swift: Swift) -> Iterator[Swift]:
    yield swift
    if not swift.pids:
        swift.start()


async def test_an_upload_in_parts_goes_on_behind_an_outage(stoppable: Swift) -> None:
    async with S3Store(await two_buckets(stoppable), SMALL) as store:
        with pytest.raises(StoreDown):
            await store.append("upload", interrupted(DATA, 12_000_000, stoppable.stop), at=0)
        with pytest.raises(StoreDown):
            await store.staged_size("upload")
        stoppable.start()
        durable = await store.staged_size("upload")
        assert 5_000_000 < durable < len(DATA)
        await store.append("upload", chunks(DATA[durable:]), at=durable)
        assert await store.seal("upload") == digest(DATA)
        await store.publish("upload", key_of(DATA), mime="audio/mpeg")
        assert await all_of(store.read(key_of(DATA))) == DATA


@pytest.mark.parametrize("told", [True, False], ids=["size-told", "size-unknown"])
async def test_an_upload_in_one_fails_clearly_and_works_again(stoppable: Swift, told: bool) -> None:
    data = DATA[:5_900_000]
    async with S3Store(await two_buckets(stoppable), SMALL) as store:
        with pytest.raises(StoreDown):
            await store.stage(
                "upload", interrupted(data, 1_000_000, stoppable.stop), size=len(data) if told else None
            )
        stoppable.start()
        assert await names(store) == {}
        assert await store.stage("upload", chunks(data), size=len(data)) == digest(data)
