"""kill -9 of `plyr worker` and `plyr web`, as people run them, at the commits that a track comes to in its
life: whoever comes after them ends what they had begun, once, or it is as if it had never been begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import chain
from pathlib import Path

import pytest
import pytest_asyncio

from indexer.albums import album_id, slug
from tests.acceptance.stops import Stop, stops_in
from tests.acceptance.workshop import Workshop, workshop
from tests.devnet.network import Devnet
from tests.integration.media.studio import TRACK
from tests.integration.media.test_killed import picture, sound, titles

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

LIST = "fm.plyr.list"
AT_ONCE = 4  # each that is held has a connection of the worker's, or two


def _step(name: str, *, kept: bool) -> Stop:
    saved = f"new.facts ->> 'step' = '{name}' and old.facts ->> 'step' is distinct from '{name}'"
    return Stop("update on job", saved, kept)


def _reserved(which: str) -> Stop:
    return Stop("insert on blob", f"new.{which}", kept=True)


def _published(which: str) -> Stop:
    return Stop("update on blob", f"new.{which} and old.state = 'publishing'", kept=False)


def _turn(collection: str, rkey: str = "") -> Stop:
    return Stop("insert on write_turn", f"new.what like '{collection}/{rkey}%'", kept=True)


ORIGINAL, IMAGE, STREAM = "area = 'private'", "area = 'image'", "mime = 'audio/mpeg'"

# In the order in which an upload comes to them, in a line those of jobs that are killed together. Kept: what
# follows outside of the database is not begun. Lost: what went before, on a disk or a PDS, is done.
MAKING = [
    [
        Stop("update on job", "new.attempts > old.attempts and new.kind = 'upload'", kept=True),
        _step("probe", kept=False),
        _reserved(ORIGINAL),
        _published(ORIGINAL),
    ],
    [_step("store", kept=False), _step("claim", kept=True), _reserved(IMAGE), _published(IMAGE)],
    [_step("cover", kept=True), _reserved(STREAM), _published(STREAM), _step("render", kept=True)],
    [_step("listen", kept=False), _step("offer", kept=False), _step("record", kept=False)],
    [
        _step("record", kept=True),
        Stop(
            "update on job", "new.state = 'done' and old.state <> 'done' and new.kind = 'upload'", kept=False
        ),
        Stop("delete on procrastinate.procrastinate_jobs", "old.queue_name = 'heavy'", kept=False),
    ],
]

# What requests come to.
SOUND_COMES = Stop("insert on staged_upload", "new.part = 'sound'", kept=True)
COVER_COMES = Stop("insert on staged_upload", "new.part = 'cover'", kept=True)
NOT_QUEUED = Stop("insert on job", "new.kind = 'upload'", kept=False)
QUEUED = Stop("insert on job", "new.kind = 'upload'", kept=True)
DRAWN = Stop("insert on image_rendition", "true", kept=False)
OWNED = Stop("insert on blob_owner", "new.kind = 'track'", kept=False)
TURN = _turn("fm.plyr.track")
_RECOVERED = "new.cover_id is distinct from old.cover_id"
WRITTEN = Stop("update on track_media", _RECOVERED, kept=False)
INDEXED = Stop("update on track_media", _RECOVERED, kept=True)
GONE_THERE = Stop("delete on track_media", "true", kept=False)
GONE = Stop("delete on track_media", "true", kept=True)
TRACKS_RENAMED = _turn(LIST)


@pytest_asyncio.fixture(loop_scope="module")
async def shop(net: Devnet, database: str, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop(net, database, tmp_path, heavy_jobs=AT_ONCE) as shop:
        yield shop


async def test_a_worker_that_is_killed_at_any_step_of_an_upload_is_followed_by_one_that_ends_it(
    shop: Workshop, database: str, tmp_path: Path
) -> None:
    here, begun = shop.here, 0
    async with stops_in(database, list(chain(*MAKING))) as held:
        for stops in MAKING:
            await shop.worker.start()
            await shop.all_done()
            for stop in reversed(stops):
                await held.hold(stop)
                data, cover = sound(tmp_path, begun), picture(begun)
                await here.wish(shop.ann, data, title=f"Dawn {begun:03}", cover=cover)
                begun += 1
                await held.caught(stop)
            await shop.worker.kill()
            await held.settle()
            await shop.much_later()
    await shop.worker.start()
    await shop.all_done()
    assert await here.one("select count(*) from job where state <> 'done'") == 0
    # One had only its ticket left, and is not begun again.
    again = await here.one("select count(*) from job where kind = 'upload' and attempts = 2")
    assert again == begun - 1
    assert await titles(here, shop.ann) == [f"Dawn {n:03}" for n in range(begun)]
    await shop.in_order()


async def test_a_server_that_is_killed_leaves_what_it_was_asked_for_or_nothing(
    shop: Workshop, database: str, tmp_path: Path
) -> None:
    here, ann = shop.here, shop.ann
    await shop.worker.start()
    tracks = [await shop.made(n) for n in range(5)]
    (first, second, third, gone, gone_too) = (number for number, _ in tracks)
    says = {number: f"Dawn {n}" for n, (number, _) in enumerate(tracks)}
    album = [await shop.made(n, album="Old") for n in (5, 6)]
    renamed = f"/albums/{album_id(ann.did, slug('Old'))}?title=New"
    alike, sent = ["Dawn 5", "Dawn 6"], list[str]()
    seeds = iter(range(100, 200))

    def edit(track: int, *, made: bool = False) -> Awaitable[int]:
        seed = next(seeds)
        if made:
            says[track] = f"Dusk {seed}"
        return shop.changes(track, f"Dusk {seed}", seed)

    def send(*, made: bool = False) -> Awaitable[int]:
        seed = next(seeds)
        if made:
            sent.append(f"Dusk {seed}")
        return shop.asks(
            "POST", "/tracks/", title=f"Dusk {seed}", file=sound(tmp_path, seed), image=picture(seed)
        )

    def delete(track: int) -> Awaitable[int]:
        del says[track]
        return shop.asks("DELETE", f"/tracks/{track}")

    def rename() -> Awaitable[int]:
        return shop.asks("PATCH", renamed)

    # Who is killed together: nobody holds what comes to be needed by those behind it.
    rounds: list[list[tuple[Stop, Callable[[], Awaitable[int]]]]] = [
        [
            (_turn(TRACK, album[1][1]), rename),
            (WRITTEN, lambda: edit(first, made=True)),
            (OWNED, lambda: edit(second)),
            (COVER_COMES, send),
        ],
        [
            (TRACKS_RENAMED, rename),
            (INDEXED, lambda: edit(first, made=True)),
            (DRAWN, lambda: edit(second)),
            (NOT_QUEUED, send),
        ],
        [
            (GONE_THERE, lambda: delete(gone)),
            (TURN, lambda: edit(second)),
            (QUEUED, lambda: send(made=True)),
        ],
        [
            (GONE, lambda: delete(gone_too)),
            (_published(IMAGE), lambda: edit(second)),
            (_reserved(IMAGE), lambda: edit(third)),
            (SOUND_COMES, send),
        ],
    ]
    called = list[list[str]]()
    async with stops_in(database, [stop for each in rounds for stop, _ in each]) as held:
        for each in rounds:
            await shop.start_web()
            asking = list[asyncio.Future[int]]()
            for stop, ask in each:
                await held.hold(stop)
                asking.append(asyncio.ensure_future(ask()))
                await held.caught(stop)
            await shop.web.kill()
            await held.settle()
            assert await asyncio.gather(*asking) == [0] * len(asking)
            await shop.much_later()
            await shop.all_done()
            await here.echoed(ann)
            assert await titles(here, ann) == sorted([*says.values(), *alike, *sent])
            called.append(await _called(shop))
            await shop.covers_stay()
    assert called == [["New", "Old", "Old"], *[["New", "New", "Old"]] * 3]
    await shop.swept()
    await shop.start_web()
    for track in (gone, gone_too):
        assert await shop.asks("DELETE", f"/tracks/{track}") == 404
    for track in (first, second, third):
        assert await edit(track, made=True) == 200
    assert await rename() == 200
    await shop.all_done()
    assert await titles(here, ann) == sorted([*says.values(), *alike, *sent])
    assert await _called(shop) == ["New", "New", "New"]
    # Original, stream and cover of each: what they were to have in the meantime they have no more.
    assert await here.one("select count(*) from blob_owner where kind = 'track'") == 3 * 6
    await shop.in_order()


async def _called(shop: Workshop) -> list[str]:
    """The album, by its tracks and then by its list."""
    tracks, lists = [await shop.here.net.list_records(shop.ann, each) for each in (TRACK, LIST)]
    named = sorted(each.value["album"] for each in tracks if each.value.get("album") in ("Old", "New"))
    return [*named, *[each.value["name"] for each in lists]]
