"""Sound that is where a record says: allowed or not, answering or not, on real servers; and who is told."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from appview.auth.keyring import GivenKeys, KeyRing, new_key
from appview.jobs.far_sounds import ANSWERED_S, FIRST_S, LONGEST_S, check_sounds, wait_s
from appview.jobs.house import sweep_tracks
from appview.jobs.tasks import Work
from appview.media.serve import ALONE
from appview.media.signed import Links
from appview.rest.media import Media
from appview.sound_origins import SoundOrigins
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from storage.blobs.filesystem import FilesystemStore
from storage.postgres import make_pool
from storage.reader import Reads
from tests.fakenet.http import FakeWeb, Page, redirect
from tests.fakenet.tls import Authority
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import Server, served

TRACK = Catalog.load().collections.track
NOBODY = cast(Work, SimpleNamespace())  # the task does not look at whose job it is
NAMED, WILD, OTHER = "audio.plyr-test.dev", "a.b.plyr-test.dev", "other.plyr-test.dev"
OWN = "https://plyr.example"
SOUND = Page(b"ID3", 206, {"Content-Type": "audio/mpeg", "Content-Range": "bytes 0-0/3"})


@dataclass
class Far:
    """Servers of others, and ours."""

    web: FakeWeb
    authority: Authority
    server: Server
    seed: Seed
    dsn: str
    origins: SoundOrigins
    artist: int

    def track(self, url: str, **fields: Any) -> str:
        """How a sound is called that a new record says is there."""
        self.seed.track(self.artist, "one", audioUrl=url, **fields)
        self.seed.commit()
        return hashlib.sha256(url.encode()).hexdigest()[:32]

    async def check(self, timeout_s: float = 5) -> Mapping[str, Any]:
        async with (
            make_pool(self.dsn, max_size=2, name="test") as pool,
            GuardedClient(True, resolver=self.web.names, ssl_context=self.authority.client_context) as http,
        ):
            return (await check_sounds(pool, http, self.origins, timeout_s=timeout_s)(NOBODY)).result

    def hurry(self) -> None:
        """Time passes until all is due again."""
        self.seed.conn.execute("update far_sound set due = now() where due is not null")
        self.seed.commit()

    async def sent_to(self, file_id: str) -> str | None:
        """Where players are sent; None: nowhere."""
        paths = (f"/audio/{file_id}", f"/audio/{file_id}/download", f"/audio/{file_id}/url")
        one, two, told = [await self.server.request("GET", path, allow_redirects=False) for path in paths]
        if one.status == 404:
            assert one.json == two.json == told.json == {"detail": "audio file not found"}
            assert "immutable" not in one.headers["Cache-Control"]
            return None
        assert (one.status, two.status, told.status) == (307, 307, 200)
        assert one.headers["Location"] == two.headers["Location"] == told.json["url"]
        return told.json["url"]

    def error(self, url: str) -> str | None:
        row = self.seed.conn.execute("select error from far_sound where url = %s", (url,)).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def far(database: str, catalog: Catalog, tmp_path: Path, authority: Authority) -> AsyncIterator[Far]:
    seed = Seed(database, catalog)
    origins = SoundOrigins([f"https://{NAMED}", "https://*.b.plyr-test.dev"], own=[OWN])
    links = Links(KeyRing(GivenKeys([new_key()])))

    def parts(reads: Reads) -> dict[str, object]:
        return {"media": Media(reads, FilesystemStore(tmp_path), links, ALONE, origins, OWN)}

    try:
        async with (
            FakeWeb(authority, WILD) as fake,
            served(database, catalog, parts=parts, sounds=origins, public_url=OWN) as server,
        ):
            for host in (NAMED, WILD, OTHER):
                fake.host(host)
            yield Far(fake, authority, server, seed, database, origins, seed.account("ann"))
    finally:
        seed.close()


async def test_players_are_sent_to_an_address_that_is_allowed_once_it_answered(far: Far) -> None:
    url = f"https://{NAMED}/a.mp3"
    file_id = far.track(url)
    far.web.pages[url] = SOUND
    assert await far.sent_to(file_id) is None
    assert await far.check() == {"found": 1, "asked": 1, "silent": 0}
    assert await far.sent_to(file_id) == url
    assert far.web.headers[0]["Range"] == "bytes=0-0"
    assert await far.check() == {"found": 0, "asked": 0, "silent": 0}  # kept for a while
    assert far.web.requests == [url]
    latest = (await far.server.ask("feed.getLatest"))["tracks"][0]
    listed = (await far.server.request("GET", "/tracks/")).json["tracks"][0]
    assert latest["audio"]["url"] == listed["r2_url"] == url


async def test_an_address_that_is_not_allowed_is_neither_asked_nor_shown_nor_sent_to(far: Far) -> None:
    url = f"https://{OTHER}/a.mp3"
    file_id = far.track(url)
    far.web.pages[url] = SOUND
    assert await far.check() == {"found": 1, "asked": 1, "silent": 1}
    assert await far.sent_to(file_id) is None
    assert far.web.requests == []
    assert far.error(url) == "its origin is not allowed"
    latest = (await far.server.ask("feed.getLatest"))["tracks"][0]
    assert "url" not in latest["audio"]
    assert latest["record"]["audioUrl"] == url  # it is what was signed
    listed = (await far.server.request("GET", "/tracks/")).json["tracks"][0]
    assert listed["r2_url"] is None
    assert listed["file_id"] == file_id
    for path in ("/search/?q=one", f"/tracks/{listed['id']}", "/tracks/top"):
        answer = await far.server.request("GET", path)
        assert OTHER.encode() not in answer.body, path
    page = await far.server.request("GET", f"/track/{listed['id']}")
    assert (page.status, OTHER.encode() in page.body) == (200, False)


async def test_what_was_allowed_and_is_not_any_more_is_not_sent_to(far: Far) -> None:
    """The setting counts when somebody asks, whatever was found under another one."""
    url = f"https://{OTHER}/a.mp3"
    file_id = far.track(url)
    far.web.pages[url] = SOUND
    ours, far.origins = far.origins, SoundOrigins(["*"])
    assert (await far.check())["silent"] == 0
    assert far.error(url) is None
    far.origins = ours
    assert await far.sent_to(file_id) is None


async def test_a_host_below_a_wildcard_is_allowed_and_not_that_itself(far: Far) -> None:
    below, bare = f"https://{WILD}/a.mp3", "https://b.plyr-test.dev/a.mp3"
    ids = [far.track(url) for url in (below, bare)]
    far.web.pages[below] = SOUND
    await far.check()
    assert [await far.sent_to(file_id) for file_id in ids] == [below, None]


async def _drops(request: web.Request, response: web.StreamResponse) -> None:
    assert request.transport is not None
    request.transport.abort()
    raise ConnectionResetError


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (Page(b"", 404), "HTTP status 404"),
        (Page(b"", 500), "HTTP status 500"),
        (Page(b"<html>", 200, {"Content-Type": "text/html; charset=utf-8"}), "and no sound"),
        (redirect("https://private.plyr-test.dev/a.mp3"), "not a public address"),
        (redirect("https://169.254.169.254/latest"), "not a public host name"),
        (redirect("http://10.0.0.1/a.mp3"), "not https"),
        (redirect(f"https://{OTHER}/a.mp3"), "whose origin is not allowed"),
        (redirect(f"https://{NAMED}/a.mp3"), "more than 3 redirects"),
        (Page(b"ID3", delay_s=30), "not done after 0.5 s"),
        (_drops, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_does_not_answer_with_sound_is_not_sent_to(far: Far, page: Any, reason: str) -> None:
    url = f"https://{NAMED}/a.mp3"
    file_id = far.track(url)
    far.web.pages[url] = page
    far.web.pages[f"https://{OTHER}/a.mp3"] = SOUND
    far.web.names.table["private.plyr-test.dev"] = [("10.0.0.1", None)]
    assert (await far.check(timeout_s=0.5))["silent"] == 1
    error = far.error(url)
    assert error is not None
    assert reason in error
    assert await far.sent_to(file_id) is None


async def test_a_name_that_leads_to_a_private_address_is_not_sent_to(far: Far) -> None:
    url = f"https://{NAMED}/a.mp3"
    file_id = far.track(url)
    far.web.names.table[NAMED] = [("192.168.1.1", 443)]
    await far.check()
    assert "not a public address" in (far.error(url) or "")
    assert await far.sent_to(file_id) is None


async def test_a_redirect_within_what_is_allowed_and_one_that_ignores_ranges_are_sound(far: Far) -> None:
    first, then = f"https://{NAMED}/a.mp3", f"https://{WILD}/b.mp3"
    ids = [far.track(url) for url in (first, then)]
    far.web.pages[first] = redirect(then, 307)
    far.web.pages[then] = Page(b"ID3" * 1_000_000, 200, {"Content-Type": "audio/mpeg"})
    await far.check()
    assert [await far.sent_to(file_id) for file_id in ids] == [first, then]


async def test_what_goes_away_is_asked_again_later_each_time_and_may_come_back(far: Far) -> None:
    url = f"https://{NAMED}/a.mp3"
    file_id = far.track(url)
    sent, waits = [], []
    for page in (SOUND, Page(b"", 404), Page(b"", 404), SOUND):
        far.web.pages[url] = page
        await far.check()
        sent.append(await far.sent_to(file_id))
        row = far.seed.conn.execute(
            "select attempts, extract(epoch from due - checked_at)::int from far_sound"
        ).fetchone()
        waits.append(row)
        far.hurry()
    assert sent == [url, None, None, url]
    assert waits == [(0, ANSWERED_S), (1, FIRST_S), (2, 2 * FIRST_S), (0, ANSWERED_S)]
    assert wait_s(1000) == LONGEST_S


async def test_another_version_of_a_record_is_asked_at_once(far: Far) -> None:
    old, new = f"https://{NAMED}/old.mp3", f"https://{NAMED}/new.mp3"
    far.web.pages[old] = far.web.pages[new] = SOUND
    one, two = far.track(old), hashlib.sha256(new.encode()).hexdigest()[:32]
    await far.check()
    far.seed.conn.execute(
        "update track set cid = 'another', rest = replace(rest, %s, %s), file_id = %s", (old, new, two)
    )
    far.seed.commit()
    assert (await far.sent_to(one), await far.sent_to(two)) == (None, None)  # old answered, and not new
    assert await far.check() == {"found": 1, "asked": 1, "silent": 0}
    assert await far.sent_to(two) == new
    far.seed.conn.execute("delete from track")
    far.seed.commit()
    async with make_pool(far.dsn, max_size=1, name="test") as pool:
        await sweep_tracks(pool, TRACK)(NOBODY)
    assert far.seed.conn.execute("select count(*) from far_sound").fetchone() == (0,)


async def test_of_several_records_that_name_a_sound_one_that_answers_counts(far: Far) -> None:
    name = "0123456789abcdef"
    dead, evil, good = (f"https://{host}/audio/{name}.mp3" for host in (NAMED, OTHER, WILD))
    for url in (dead, evil, good):
        far.track(url)
    far.web.pages[good] = far.web.pages[evil] = SOUND
    await far.check()
    assert await far.sent_to(name) == good


async def test_what_is_ours_or_a_blob_is_not_asked(far: Far) -> None:
    far.track(f"{OWN}/audio/{'a' * 64}")
    blob = {"cid": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "mimeType": "audio/mpeg"}
    far.seed.track(far.artist, "two", audioUrl=None, audioBlob=blob)
    far.seed.commit()
    assert await far.check() == {"found": 1, "asked": 1, "silent": 0}
    far.hurry()
    assert await far.check() == {"found": 0, "asked": 0, "silent": 0}
    assert far.web.requests == []
    listed = (await far.server.request("GET", "/tracks/")).json["tracks"]
    assert [track["r2_url"].split("?")[0] for track in listed] == [
        "https://pds.test/xrpc/com.atproto.sync.getBlob",
        f"{OWN}/audio/{'a' * 64}",
    ]
    assert await far.sent_to(listed[0]["file_id"]) == listed[0]["r2_url"]
