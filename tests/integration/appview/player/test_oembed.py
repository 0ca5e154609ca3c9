"""Pages of ours on pages of others: only our own, no larger than asked for, and no text becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from appview.rest import site_shapes
from tests.integration.appview.player.room import FRONT, Room, detail, places

OURS = "https://plyr.test"
NASTY = '"><script>alert(1)</script>\x01&amp; Ü'


class Frame(HTMLParser):
    """The one element of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


async def oembed(room: Room, url: str, **params: Any) -> Any:
    told = await room.told("GET", "/oembed", params={"url": url} | params)
    msgspec.convert(told, site_shapes.OEmbed)
    return told


async def test_a_track_is_a_small_player(room: Room) -> None:
    ann = room.person("ann", avatar="https://img.test/ann.png")
    id, _ = room.track(ann, "Dawn", imageUrl="https://img.test/dawn.png")
    told = await oembed(room, f"{FRONT}/track/{id}")
    assert told == {
        "version": "1.0", "type": "rich", "provider_name": "plyr.fm", "provider_url": FRONT,
        "title": "Dawn - Ann", "author_name": "Ann", "author_url": f"{FRONT}/u/ann.test",
        "width": 400, "height": 165, "html": told["html"], "thumbnail_url": "https://img.test/dawn.png",
        "thumbnail_width": 300, "thumbnail_height": 300,
    }  # fmt: skip
    [(tag, attributes)] = Frame(told["html"]).found
    assert (tag, attributes["src"]) == ("iframe", f"{FRONT}/embed/track/{id}")
    assert (attributes["width"], attributes["height"]) == ("400", "165")
    for url in (f"{OURS}/track/{id}", f"http://plyr.test/track/{id}/?t=5#x", f"{FRONT}/embed/track/{id}"):
        assert await oembed(room, url) == told
    small = await oembed(room, f"{FRONT}/track/{id}", maxwidth=300, maxheight=100)
    assert (small["width"], small["height"]) == (300, 100)
    large = await oembed(room, f"{FRONT}/track/{id}", maxwidth=5000, maxheight=5000)
    assert (large["width"], large["height"]) == (800, 165)
    bare = room.track(ann, "Bare")[0]
    told = await oembed(room, f"{FRONT}/track/{bare}")
    assert (told["thumbnail_url"], told["thumbnail_width"], told["thumbnail_height"]) == (None, None, None)


async def test_an_artist_is_a_list_of_ours(room: Room) -> None:
    room.person("ann", avatar="https://img.test/ann.png")
    told = await oembed(room, f"{FRONT}/u/ann.test")
    assert (told["title"], told["author_name"], told["height"]) == ("Ann", "Ann", 400)
    assert told["thumbnail_url"] == "https://img.test/ann.png"
    [(_, attributes)] = Frame(told["html"]).found
    assert attributes["src"] == f"{OURS}/embed/artist/ann.test"


async def test_an_album_is_a_list_of_its_tracks(room: Room) -> None:
    ann = room.person("ann")
    one, two = (room.track(ann, title, album="Mÿ Álbum & more")[0] for title in ("One", "Two"))
    [album] = (await room.told("GET", "/albums/ann.test"))["albums"]
    told = await oembed(room, f"{FRONT}/u/ann.test/album/{album['slug']}")
    assert (told["title"], told["author_name"]) == ("Mÿ Álbum & more - Ann", "Ann")
    assert (told["author_url"], told["height"]) == (f"{FRONT}/u/ann.test", 400)
    [(_, attributes)] = Frame(told["html"]).found
    path = f"/embed/album/ann.test/{album['slug']}"
    assert attributes["src"] == FRONT + path
    assert await oembed(room, OURS + path) == told
    answer = await room.ask("GET", path)
    assert (answer.status, "X-Frame-Options" in answer.headers) == (200, False)
    links = [attributes["href"] for tag, attributes in Frame(answer.body.decode()).found if tag == "a"]
    assert links == [
        f"{FRONT}/u/ann.test/album/{album['slug']}",
        *(f"/embed/track/{id}" for id in (one, two)),
    ]
    for gone in ("/embed/album/ann.test/none", "/embed/album/x/none", "/embed/album/%00/%00"):
        assert (await room.ask("GET", gone)).status == 404
        assert detail(await room.ask("GET", "/oembed", params={"url": OURS + gone})) == (
            404,
            "album not found",
        )


async def test_a_playlist_is_a_list_of_its_tracks(room: Room) -> None:
    ann, bob = room.person("ann"), room.person("bob")
    one, two = (
        room.track(ann, title, imageUrl=f"https://img.test/{title}.png")[0] for title in ("One", "Two")
    )
    uris = [uri for (uri,) in await room.rows("select uri from track_uri order by id desc")]
    room.seed.list_of(bob, "Bob's Mix", uris, "playlist")
    room.seed.commit()
    [(id,)] = await room.rows("select id from list")
    told = await oembed(room, f"{FRONT}/playlist/{id}")
    assert (told["title"], told["author_name"], told["height"]) == ("Bob's Mix - Bob", "Bob", 400)
    assert told["thumbnail_url"] == "https://img.test/Two.png"
    [(_, attributes)] = Frame(told["html"]).found
    assert attributes["src"] == f"{FRONT}/embed/playlist/{id}"
    page = (await room.ask("GET", f"/embed/playlist/{id}")).body.decode()
    links = [attributes["href"] for tag, attributes in Frame(page).found if tag == "a"]
    assert links == [f"{FRONT}/playlist/{id}", *(f"/embed/track/{track}" for track in (two, one))]
    missing = await room.ask("GET", "/oembed", params={"url": f"{OURS}/playlist/{id + 1}"})
    assert detail(missing) == (404, "playlist not found")
    assert (await room.ask("GET", f"/embed/playlist/{id + 1}")).status == 404


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/track/{id}", "https://plyr.test.evil.test/track/{id}",
        "https://evil.test/?https://plyr.test/track/{id}", "https://plyr.test@evil.test/track/{id}",
        "https://plyr.test:444/track/{id}", "ftp://plyr.test/track/{id}", "//plyr.test/track/{id}",
        "javascript:alert(1)//plyr.test/track/{id}", "https://plyr.test/track/{id}/more",
        "https://plyr.test/track/x", "https://plyr.test/track/0{id}", "https://plyr.test/", "https://[",
        "/track/{id}", "", "https://plyr.test/TRACK/{id}",
    ],
)  # fmt: skip
async def test_what_is_no_page_of_ours_is_not_known(room: Room, url: str) -> None:
    id, _ = room.track(room.person("ann"), "Dawn")
    answer = await room.ask("GET", "/oembed", params={"url": url.format(id=id)})
    assert detail(answer) == (404, "invalid track URL")


async def test_what_cannot_be_shown_is_not_found(room: Room) -> None:
    id, _ = room.track(room.person("ann", hidden=True), "Dawn")
    for path, said in (
        (f"/track/{id}", "track not found"), ("/track/999999999999999999", "track not found"),
        ("/u/ann.test", "artist not found"), ("/u/%00", "artist not found"), ("/u/x", "artist not found"),
    ):  # fmt: skip
        assert detail(await room.ask("GET", "/oembed", params={"url": OURS + path})) == (404, said)


async def test_what_is_asked_for_has_to_make_sense(room: Room) -> None:
    id, _ = room.track(room.person("ann"), "Dawn")
    url = f"{OURS}/track/{id}"
    assert places(await room.ask("GET", "/oembed")) == [["query", "url"]]
    for name in ("maxwidth", "maxheight"):
        for value in ("0", "-1", "wide"):
            assert places(await room.ask("GET", "/oembed", params={"url": url, name: value})) == [
                ["query", name]
            ]
    refused = await room.ask("GET", "/oembed", params={"url": url, "format": "yaml"})
    assert detail(refused) == (501, "only json and xml formats are supported")


async def test_what_somebody_wrote_is_text_in_html_and_in_xml(room: Room) -> None:
    ann = room.person("ann", display_name=NASTY)
    id, _ = room.track(ann, NASTY, imageUrl="javascript:alert(1)")
    told = await oembed(room, f"{OURS}/track/{id}")
    assert told["title"] == f"{NASTY} - {NASTY}"
    assert told["thumbnail_url"] is None
    [(tag, attributes)] = Frame(told["html"]).found
    assert (tag, attributes["title"]) == ("iframe", f"{NASTY} - {NASTY}")
    answer = await room.ask("GET", "/oembed", params={"url": f"{OURS}/track/{id}", "format": "xml"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    found = {each.tag: each.text for each in ElementTree.fromstring(answer.body)}
    assert found["html"] == told["html"].replace("\x01", "")
    assert found["title"] == told["title"].replace("\x01", "")
    assert (found["width"], "thumbnail_url" in found) == ("400", False)
    for path in (f"/embed/track/{id}", "/embed/artist/ann.test", f"/track/{id}"):
        page = (await room.ask("GET", path)).body.decode()
        assert "<script" not in page
        assert "javascript:" not in page


async def test_what_is_embedded_may_stand_on_any_page_and_nothing_else_may(room: Room) -> None:
    id, _ = room.track(room.person("ann"), "Dawn")
    for path in (f"/embed/track/{id}", "/embed/artist/ann.test", "/embed/track/999", "/embed/artist/%00"):
        answer = await room.ask("GET", path)
        assert answer.status == (404 if "9" in path or "%" in path else 200)
        assert "X-Frame-Options" not in answer.headers
        assert "frame-ancestors *" in answer.headers["Content-Security-Policy"]
        assert "script-src" not in answer.headers["Content-Security-Policy"]
    for path in (f"/track/{id}", "/", "/oembed", f"/tracks/{id}"):
        answer = await room.ask("GET", path)
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    page = (await room.ask("GET", "/embed/artist/ann.test")).body.decode()
    assert f'href="/embed/track/{id}"' in page
    assert f'href="{FRONT}/u/ann.test"' in page
    assert f'href="{FRONT}/track/{id}"' in (await room.ask("GET", f"/embed/track/{id}")).body.decode()


async def test_a_page_says_where_its_oembed_is(room: Room) -> None:
    id, _ = room.track(room.person("ann"), NASTY)
    page = (await room.ask("GET", f"/track/{id}")).body.decode()
    links = [
        attributes
        for tag, attributes in Frame(page).found
        if tag == "link" and attributes["rel"] == "alternate"
    ]
    assert [link["type"] for link in links] == ["application/json+oembed", "text/xml+oembed"]
    for link in links:
        assert link["href"] is not None
        answer = await room.ask("GET", link["href"])
        assert (answer.status, b"Dawn" in answer.body or b"alert" in answer.body) == (200, True)
