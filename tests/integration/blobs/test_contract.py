"""What every blob store keeps, on a disk and in S3: the contract of storage.blobs.store."""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aiohttp
import pytest

from storage.blobs.store import (
    Area,
    BadOffset,
    BlobMissing,
    BlobStore,
    Digest,
    Key,
    Mismatch,
)
from tests.bench import machine

SIZES = [0, 65_536, 5 << 20, (6 << 20) + 1, 13_000_000]


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest(), zlib.crc32(data), len(data))


def key_of(data: bytes, area: Area = Area.AUDIO) -> Key:
    return Key(area, hashlib.sha256(data).hexdigest())


async def chunks(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def breaking(data: bytes) -> AsyncIterator[bytes]:
    async for chunk in chunks(data):
        yield chunk
    raise ConnectionResetError("the client is gone")


async def all_of(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def publish(store: BlobStore, data: bytes, area: Area = Area.AUDIO, name: str = "upload") -> Key:
    await store.stage(name, chunks(data), size=len(data))
    await store.publish(name, key_of(data, area), mime="audio/mpeg")
    return key_of(data, area)


async def names(store: BlobStore) -> dict[str, int]:
    return {staged.name: staged.size async for staged in store.list_staged()}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("told", [True, False], ids=["size-told", "size-unknown"])
async def test_what_is_staged_and_published_is_read_back_whole(
    store: BlobStore, size: int, told: bool
) -> None:
    data = noise(size)
    assert await store.stage("upload", chunks(data), size=size if told else None) == digest(data)
    assert await all_of(store.read_staged("upload")) == data
    await store.publish("upload", key_of(data), mime="audio/mpeg")
    assert await all_of(store.read(key_of(data))) == data
    found = await store.stat(key_of(data))
    assert found is not None
    assert (found.key, found.size) == (key_of(data), size)
    assert await names(store) == {}


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (0, 100_000), (99_999, 100_000), (50_000, None), (100_000, None), (200_000, None), (7, 7)],
)
async def test_a_part_is_read_as_a_slice(store: BlobStore, start: int, stop: int | None) -> None:
    data = noise(100_000)
    key = await publish(store, data)
    assert await all_of(store.read(key, start, stop)) == data[start:stop]


@pytest.mark.parametrize("promised", [9_999, 10_001])
async def test_another_number_of_bytes_than_promised_is_refused_and_nothing_stays(
    store: BlobStore, promised: int
) -> None:
    with pytest.raises(Mismatch):
        await store.stage("upload", chunks(noise(10_000)), size=promised)
    assert await names(store) == {}


@pytest.mark.parametrize("told", [True, False], ids=["size-told", "size-unknown"])
async def test_a_source_that_breaks_off_says_so_itself_and_nothing_stays(
    store: BlobStore, told: bool
) -> None:
    with pytest.raises(ConnectionResetError, match="the client is gone"):
        await store.stage("upload", breaking(noise(9_000_000)), size=12_000_000 if told else None)
    assert await names(store) == {}


async def test_staging_again_replaces_what_was_there(store: BlobStore) -> None:
    await store.stage("upload", chunks(noise(1000)))
    assert await store.stage("upload", chunks(noise(500, 2))) == digest(noise(500, 2))
    assert await all_of(store.read_staged("upload")) == noise(500, 2)


async def test_an_upload_goes_on_where_it_broke_off(store: BlobStore) -> None:
    data = noise(7_000_000)
    with pytest.raises(ConnectionResetError):
        await store.append("upload", breaking(data[:6_000_000]), at=0)
    durable = await store.staged_size("upload")
    assert durable == 6_000_000
    assert await names(store) == {"upload": 6_000_000}
    assert await store.append("upload", chunks(data[durable:]), at=durable) == len(data)
    assert await store.seal("upload") == digest(data)
    assert await store.seal("upload") == digest(data)
    assert await store.staged_size("upload") == len(data)
    await store.publish("upload", key_of(data), mime="audio/mpeg")
    assert await all_of(store.read(key_of(data))) == data
    assert await names(store) == {}


@pytest.mark.parametrize("at", [0, 5, 2000])
async def test_bytes_go_only_behind_those_that_are_there(store: BlobStore, at: int) -> None:
    await store.append("upload", chunks(noise(1000)), at=0)
    with pytest.raises(BadOffset) as refused:
        await store.append("upload", chunks(noise(1000)), at=at)
    assert refused.value.durable == 1000
    assert await store.staged_size("upload") == 1000


async def test_a_key_is_written_once(store: BlobStore) -> None:
    key = await publish(store, b"the first")
    before = await store.stat(key)
    await store.stage("second", chunks(b"another"))
    await store.publish("second", key, mime="audio/mpeg")
    assert await all_of(store.read(key)) == b"the first"
    assert await store.stat(key) == before
    assert await names(store) == {}


async def test_publishing_again_after_a_crash_changes_nothing(store: BlobStore) -> None:
    key = await publish(store, b"once")
    await store.publish("upload", key, mime="audio/mpeg")
    assert await all_of(store.read(key)) == b"once"


async def test_what_is_nowhere_cannot_be_published_or_read(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        await store.publish("nothing", key_of(b"x"), mime="audio/mpeg")
    with pytest.raises(BlobMissing):
        await all_of(store.read(key_of(b"x")))
    with pytest.raises(BlobMissing):
        await all_of(store.read_staged("nothing"))
    with pytest.raises(BlobMissing):
        await store.seal("nothing")
    assert await store.stat(key_of(b"x")) is None
    assert await store.staged_size("nothing") == 0
    await store.unstage("nothing")
    await store.delete(key_of(b"x"))


async def test_areas_do_not_mix(store: BlobStore) -> None:
    for area in Area:
        assert await publish(store, area.encode(), area) == key_of(area.encode(), area)
    for area in Area:
        assert [each.key async for each in store.list(area)] == [key_of(area.encode(), area)]
        assert (
            await store.stat(Key(area, key_of(b"audio" if area != Area.AUDIO else b"image").sha256)) is None
        )


async def test_a_listing_has_every_blob_in_order_of_its_key(store: BlobStore) -> None:
    made = sorted([await publish(store, bytes([number])) for number in range(12)])
    assert [(each.key, each.size) async for each in store.list(Area.AUDIO)] == [(key, 1) for key in made]


async def test_what_is_deleted_is_gone_and_its_neighbour_is_not(store: BlobStore) -> None:
    gone, kept = await publish(store, b"gone"), await publish(store, b"kept")
    await store.delete(gone)
    assert await store.stat(gone) is None
    assert await all_of(store.read(kept)) == b"kept"
    assert [each.key async for each in store.list(Area.AUDIO)] == [kept]


async def test_what_is_unstaged_is_gone_whole_or_in_pieces(store: BlobStore) -> None:
    await store.stage("whole", chunks(b"one"))
    await store.append("pieces", chunks(noise(11_000_000)), at=0)
    assert await names(store) == {"pieces": 11_000_000, "whole": 3}
    await store.unstage("whole")
    await store.unstage("pieces")
    assert await names(store) == {}


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b", "x" * 101, "-", "é"])
async def test_a_name_that_is_a_path_is_no_name(store: BlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        await store.stage(name, chunks(b""))


async def test_an_address_gives_the_blob_to_whoever_has_it_and_no_other(store: BlobStore) -> None:
    key = await publish(store, b"a secret", Area.PRIVATE)
    address = await store.link(key, expires_s=60, mime="audio/flac", filename="Ä “1”.flac")
    if (file := store.path(key)) is not None:
        assert address is None
        assert file.read_bytes() == b"a secret"
        return
    assert address is not None
    async with aiohttp.ClientSession() as client:
        async with client.get(address, headers={"Range": "bytes=2-"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"secret")
            assert answer.content_type == "audio/flac"
            assert answer.content_disposition is not None
            assert answer.content_disposition.filename == "Ä “1”.flac"
        for forged in (address.replace(key.sha256, key_of(b"x").sha256), address.partition("?")[0]):
            async with client.get(forged) as answer:
                assert answer.status in (400, 403)  # Swift says 400 where nothing is signed


@pytest.mark.parametrize("told", [True, False], ids=["size-told", "size-unknown"])
async def test_memory_does_not_grow_with_the_blob(store: BlobStore, told: bool) -> None:
    """120 MiB in and out again, in less than 48 MiB more than before."""
    size, chunk = 120 << 20, noise(65_536)

    async def many() -> AsyncIterator[bytes]:
        for _ in range(size // len(chunk)):
            yield chunk

    await store.stage("first", chunks(noise(7_000_000)))  # what is loaded once
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from now on
    before = machine.own_peak_bytes()
    stored = await store.stage("upload", many(), size=size if told else None)
    read = 0
    async for piece in store.read_staged("upload"):
        read += len(piece)
    assert read == stored.size == size
    assert machine.own_peak_bytes() - before < 48 << 20


def test_a_key_is_parsed_as_it_was_written() -> None:
    key = key_of(b"x", Area.IMAGE)
    assert Key.parse(str(key)) == key
    for text in wrong_keys(str(key)):
        with pytest.raises(ValueError, match=r".+"):
            Key.parse(text)


def wrong_keys(right: str) -> Iterable[str]:
    return (
        right[:-1],
        right + "0",
        right.upper(),
        right.replace("image", "video"),
        f"x/{right}",
        f"{right}\n",
    )
