"""The page for people: it always answers, escapes what strangers wrote, and asks nothing of other hosts."""

from __future__ import annotations

import re
import socket
from html.parser import HTMLParser

import pytest

from lexicons.catalog import Catalog
from tests.integration.appview.service import World, served


class Links(HTMLParser):
    """Collects tags and everything that a browser would follow or load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in ("href", "src", "action", "srcset")
        ]
        assert not any(name == "style" or name.startswith("on") for name, _ in attrs)


async def test_an_empty_database_gives_a_page_that_waits(world: World):
    answer = await world.server.request("GET", "/")
    assert answer.status == 200
    assert "Waiting for the first event" in answer.body.decode()
    assert "No tracks yet" in answer.body.decode()


async def test_the_page_shows_sources_counts_tracks_and_how_to_ask(world: World):
    ann = world.seed.account("ann")
    world.seed.source("wss://relay.test", 31_527_015_471)
    uri = world.seed.track(ann, "Night ferry", duration=241)
    world.seed.like(ann, uri)
    world.seed.commit()
    page = (await world.server.request("GET", "/")).body.decode()
    for text in ("relay.test", "31,527,015,471", "Night ferry", "@ann.test", "4:01", "♥ 1", "just now"):
        assert text in page
    assert f"curl &#39;{world.server.url}/xrpc/fm.plyr.feed.getLatest?limit=5&#39;" in page
    commands = re.findall(r"curl &#39;[^&]*?(/xrpc/[^ ]*?)&#39;", page)
    assert len(commands) == 4
    for path in commands:
        assert (await world.server.request("GET", path)).status == 200, path


async def test_what_strangers_wrote_is_text(world: World):
    evil = "</style><script>alert(1)</script><img src=x onerror=alert(1)>"
    world.seed.track(world.seed.account("ann", display_name=f'"{evil}'), evil)
    world.seed.source(f"wss://x/{evil}", 1)
    world.seed.commit()
    answer = await world.server.request("GET", "/", headers={"Host": 'x"><script>alert(1)</script>'})
    links = Links(answer.body.decode())
    assert "script" not in links.tags
    assert "img" not in links.tags
    assert "http://localhost/xrpc" in answer.body.decode()


async def test_the_browser_may_load_nothing_from_elsewhere(world: World):
    ann = world.seed.account("ann", avatar="https://img.test/a.png")
    world.seed.track(ann, "one", imageUrl="https://img.test/b.png")
    world.seed.commit()
    answer = await world.server.request("GET", "/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert all(
        address.startswith(("/", "data:image/svg+xml,")) for address in Links(answer.body.decode()).addresses
    )


async def test_without_a_database_the_page_says_so(catalog: Catalog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with served(f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/x", catalog) as server:
            answer = await server.request("GET", "/")
    assert answer.status == 503
    assert "The database cannot be reached" in answer.body.decode()


@pytest.mark.parametrize("verb", ["HEAD"])
async def test_head_works_on_the_page(world: World, verb: str):
    answer = await world.server.request(verb, "/")
    assert (answer.status, answer.body) == (200, b"")
