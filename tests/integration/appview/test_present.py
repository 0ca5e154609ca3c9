"""appview/rest/present.py: pages of tracks for REST, out of the same listings as XRPC's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import orjson
import pytest

from appview.app import make_reader
from appview.rest import present, shapes
from appview.sound_origins import ANYWHERE, SoundOrigins
from lexicons.catalog import Catalog
from storage import feed, keyset
from storage.reader import Reads
from storage.spread import Spreads
from tests.integration.appview.seed import Seed
from tests.integration.appview.test_questions import Counting

BLOB = "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy"
TEXTS = [("plain", "plain"), ('quote " back \\ nul \0', "nul"), ("夜の歌 \N{GRINNING FACE}", "wide")]


@pytest.fixture
def seed(database: str, catalog: Catalog) -> Any:
    seed = Seed(database, catalog)
    yield seed
    seed.close()


@pytest.fixture
async def reads(database: str, seed: Seed) -> AsyncIterator[Reads]:
    async with make_reader(database, connections=1) as reads:
        yield reads


async def latest(reads: Reads, viewer: str | None = None) -> list[dict[str, Any]]:
    page = await feed.REST.latest(reads, viewer, keyset.TIME_ID.start, 100)
    made = orjson.loads(present.page(await present.listed(reads, page.rows, SoundOrigins([ANYWHERE]))))
    msgspec.convert(made, shapes.Tracks)
    return made["tracks"]


def variety(seed: Seed, *, old: bool = False) -> None:
    """One of each kind that looks different."""
    ann = seed.account("ann", avatar="https://x.test/ann.png")
    nameless = seed.account("", display_name=None)
    hidden = seed.account("eve", hidden=True)
    people = [{"did": seed.dids[each]} for each in (nameless, ann, hidden)]
    for title, album in TEXTS:
        seed.track(ann, title.replace("\0", ""), album=album, old=old)
    seed.track(ann, "cover", album="X", imageUrl="https://x.test/image/" + "ab" * 32, old=old)
    seed.track(ann, "featuring", features=people, old=old)
    seed.track(nameless, "bare", album="Album of nobody", old=old)
    seed.track(ann, "blob", audioBlob={"cid": BLOB, "mimeType": "audio/mpeg"}, old=old)
    seed.track(hidden, "unseen", old=old)
    seed.commit()


async def test_a_track_has_everything_that_rest_shows(seed: Seed, reads: Reads) -> None:
    ann, bob = seed.account("ann", avatar="https://x.test/ann.png"), seed.account("bob")
    uri = seed.track(ann, "One", album="My Álbum", features=[{"did": seed.dids[bob]}])
    seed.like(ann, uri)
    seed.like(bob, uri)
    seed.comment(bob, uri, "hm")
    seed.conn.execute('update track_stat set plays = 7, tags = \'{"a \\"quote",b}\'')
    seed.commit()
    (track,) = await latest(reads, seed.dids[bob])
    counts = {key: track[key] for key in track if key.endswith("_count") or key == "is_liked"}
    assert counts == {"play_count": 7, "like_count": 2, "comment_count": 1, "is_liked": True}
    assert track["artist"] == "Ann"
    assert track["tags"] == ['a "quote', "b"]
    assert track["artist_handle"] == "ann.test"
    assert track["artist_avatar_url"] == track["album"]["image_url"] == "https://x.test/ann.png"
    assert track["features"] == [
        {"did": seed.dids[bob], "handle": "bob.test", "display_name": "Bob", "avatar_url": None}
    ]
    assert track["atproto_record_url"].startswith(
        "https://pds.test/xrpc/com.atproto.repo.getRecord?repo=did:"
    )
    assert (await latest(reads))[0]["is_liked"] is False
    assert (await latest(reads, "did:web:nobody.example"))[0]["is_liked"] is False


async def test_what_cannot_be_known_is_null_and_nobody_unseen_is_shown(seed: Seed, reads: Reads) -> None:
    variety(seed)
    tracks = {track["title"]: track for track in await latest(reads)}
    assert "unseen" not in tracks
    assert (tracks["bare"]["artist"], tracks["bare"]["artist_avatar_url"]) == ("handle.invalid", None)
    assert tracks["bare"]["album"]["image_url"] is None
    assert tracks["cover"]["album"]["image_url"] == tracks["cover"]["image_url"]
    handles = [each["handle"] for each in tracks["featuring"]["features"]]
    assert handles == ["handle.invalid", "ann.test", "handle.invalid"]
    assert [each["avatar_url"] for each in tracks["featuring"]["features"]][1:] == [
        "https://x.test/ann.png",
        None,
    ]


async def test_a_track_from_before_rest_looks_like_one_of_now(
    seed: Seed, reads: Reads, another_database: str, catalog: Catalog
) -> None:
    variety(seed)
    other = Seed(another_database, catalog)
    variety(other, old=True)
    other.close()
    async with make_reader(another_database, connections=1) as before:
        assert await latest(before) == await latest(reads)


async def test_a_track_is_alone_as_it_is_on_a_page(seed: Seed, reads: Reads) -> None:
    variety(seed)
    shown, anywhere = await latest(reads), SoundOrigins([ANYWHERE])
    rows = (await feed.REST.latest(reads, None, keyset.TIME_ID.start, 100)).rows
    assert [orjson.loads(await present.track(reads, row, anywhere)) for row in rows] == shown
    assert [orjson.loads(track) for track in await present.tracks(reads, rows, anywhere)] == shown


@pytest.mark.parametrize("count", [1, 60])
async def test_a_page_costs_one_question_more_where_anybody_is_featured(
    seed: Seed, reads: Reads, count: int
) -> None:
    people = [seed.account(f"p{number}") for number in range(count)]
    for each in people:
        seed.track(each, "plain", album="X")
    seed.commit()
    counting = Counting(reads)
    assert len(await latest(counting)) == count
    assert counting.asked == ["rest_latest"]
    for each in people[:20]:
        seed.track(each, "more", features=[{"did": seed.dids[other]} for other in people[:10]])
    seed.commit()
    counting.asked.clear()
    await latest(counting)
    assert counting.asked == ["rest_latest", "people_cards"]


async def test_every_listing_has_both_forms(seed: Seed, reads: Reads) -> None:
    """The same tracks in the same order, whoever asks."""
    ann = seed.account("ann")
    tracks = [seed.track(ann, f"song {number}") for number in range(3)]
    for track in tracks:
        seed.like(ann, track)
    seed.list_of(ann, "mix", tracks)
    seed.commit()
    did, time_id = seed.dids[ann], keyset.TIME_ID.start
    spread = await Spreads(reads).get()
    for listing in (
        lambda form: form.latest(reads, did, time_id, 9),
        lambda form: form.top(reads, did, keyset.COUNT_ID.start, 9),
        lambda form: form.by_actor(reads, did, ann, time_id, 9),
        lambda form: form.search(reads, spread, did, "song", keyset.RANK_ID.start, 9),
    ):
        xrpc, rest = await listing(feed.XRPC), await listing(feed.REST)
        assert [row[0] for row in rest.rows] == [row[0] for row in xrpc.rows] != []
        assert len(rest.rows) == 3
    liked = (await feed.REST.liked_by(reads, did, ann, keyset.TIME_RKEY.start, 9)).rows
    listed = (await feed.REST.in_list(reads, did, 1, keyset.POSITION.start, 9)).rows
    assert len(liked) == len(listed) == len(await feed.REST.by_uris(reads, did, tracks)) == 3
    assert await feed.REST.by_id(reads, did, 10**9) is None
