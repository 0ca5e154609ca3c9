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
from storage import feed, keyset, rest_feed
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
    made = orjson.loads(b"".join(present.page(present.listed(page, SoundOrigins([ANYWHERE])))))
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
    for track in shown:
        alone = await feed.REST.by_id(reads, None, track["id"])
        assert alone is not None
        assert orjson.loads(present.listed(alone, anywhere)) == track


SLY_NAMES = [
    ',"avatar":"https://x.test/other.png"',
    '","displayName":"Other',
    '"handle":',
    "\\",
    '\\","avatar":"',
    "a\nb\u2028,\n",
    ":",
    "夜 \N{GRINNING FACE}",
]


@pytest.mark.parametrize("avatar", [None, 'https://x.test/",\n"artist_did":"b'])
async def test_nobody_looks_like_another_by_what_their_name_or_picture_says(
    seed: Seed, reads: Reads, avatar: str | None
) -> None:
    for number, name in enumerate(SLY_NAMES):
        each = seed.account(f"ann{number}", display_name=name, avatar=avatar)
        seed.track(each, name, album=name, features=[{"did": seed.dids[each]}])
    seed.commit()
    shown = await latest(reads)
    assert len(shown) == len(SLY_NAMES)
    for number, (track, did) in enumerate(zip(reversed(shown), seed.dids.values(), strict=True)):
        name, handle = SLY_NAMES[number], f"ann{number}.test"
        looks = {"did": did, "handle": handle, "display_name": name, "avatar_url": avatar}
        assert track["features"] == [looks]
        assert (track["artist"], track["artist_did"]) == (name, did)
        assert (track["artist_handle"], track["artist_avatar_url"]) == (handle, avatar)
        assert (track["title"], track["album"]["image_url"]) == (name, avatar)


async def test_labels_are_the_artists_and_ours_each_once(seed: Seed, reads: Reads) -> None:
    ann = seed.account("ann")
    both = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "sexual"}, {"val": "nudity"}]}
    uris = [
        seed.track(ann, "own", labels=both),
        seed.track(ann, "both", labels=both),
        seed.track(ann, "ours"),
        seed.track(ann, "none", supportGate={"self_labels": ["mine"], "labels": ["mine"]}),
    ]
    seed.conn.execute("insert into label_key (public, secret) values ('did:key:z', '')")
    for seq, uri, label in ((1, uris[1], "nudity"), (2, uris[1], "spam"), (3, uris[2], "spam")):
        seed.conn.execute(
            "insert into label (seq, uri, val, cts, src, key_id, sig)"
            " select %s, %s, %s, now()::text, 'did:web:x.test', id, '' from label_key",
            (seq, uri, label),
        )
    seed.commit()
    shown = {track["title"]: track for track in await latest(reads)}
    assert shown["own"]["labels"] == shown["own"]["self_labels"] == ["sexual", "nudity"]
    assert shown["both"]["labels"] == ["sexual", "nudity", "spam"]
    assert shown["both"]["operator_labels"] == ["nudity", "spam"]
    assert shown["ours"]["labels"] == shown["ours"]["operator_labels"] == ["spam"]
    assert shown["none"]["labels"] == shown["none"]["self_labels"] == []


async def test_pages_follow_each_other_without_a_gap(seed: Seed, reads: Reads) -> None:
    ann = seed.account("ann")
    for track in [seed.track(ann, f"song {number}") for number in range(5)]:
        seed.like(ann, track)
    seed.commit()
    for name in ("latest", "liked"):
        seen: list[str] = []
        after, sizes = (keyset.TIME_RKEY if name == "liked" else keyset.TIME_ID).start, list[int]()
        while True:
            page = await feed.REST.page(reads, name, seed.dids[ann], after, 2)
            seen += [track["title"] for track in present.parsed(page, SoundOrigins([ANYWHERE]))]
            sizes.append(page.count)
            if page.next is None:
                break
            after = page.next
        assert seen == [f"song {number}" for number in (4, 3, 2, 1, 0)]
        assert sizes == [2, 2, 1]
    nobody = await feed.REST.by_actor(reads, None, 10**6, keyset.TIME_ID.start, 2)
    assert b"".join(present.page(present.listed(nobody, SoundOrigins([])))) == b'{"tracks":[]}'


async def test_on_a_page_the_sound_of_one_is_judged_without_the_others(seed: Seed, reads: Reads) -> None:
    ann = seed.account("ann")
    sly = {"r2_url": "https://audio.test/", "audio_storage": "pds", "atproto_record_uri": ","}
    for number in range(6):
        far = number % 3 == 0
        seed.track(
            ann,
            f"song {number} https://audio.test/",
            audioUrl="https://far.test/a.mp3" if far else "https://audio.test/a.mp3",
            supportGate=sly,
        )
    seed.track(ann, "blob", audioUrl=None, audioBlob={"cid": BLOB, "mimeType": "audio/mpeg"})
    seed.commit()
    page = await feed.REST.latest(reads, None, keyset.TIME_ID.start, 100)
    for _ in range(2):  # of what is known, and of what is not yet
        sounds = SoundOrigins(["https://audio.test"])
        shown = present.parsed(page, sounds)
        kept = [track["r2_url"] for track in reversed(shown)]
        assert kept[:6] == [None, "https://audio.test/a.mp3", "https://audio.test/a.mp3"] * 2
        assert kept[6].startswith("https://pds.test/xrpc/")
        assert present.listed(page, SoundOrigins([ANYWHERE])) is page.text


@pytest.mark.parametrize("count", [1, 60])
async def test_a_page_is_one_question_whoever_is_featured(seed: Seed, reads: Reads, count: int) -> None:
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
    assert counting.asked == ["rest_latest"]


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
        shown = present.parsed(rest, SoundOrigins([ANYWHERE]))
        assert [track["id"] for track in shown] == [int(row[0]) for row in xrpc.rows] != []
        assert rest.count == len(shown) == 3
    liked = await rest_feed.liked_by(reads, did, ann, keyset.TIME_RKEY.start, 9)
    assert liked.count == (await feed.REST.by_uris(reads, did, tracks)).count == 3
    assert await feed.REST.by_id(reads, did, 10**9) is None
