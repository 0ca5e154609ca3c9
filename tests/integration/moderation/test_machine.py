"""The moderation service as programs use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import aiohttp
import pytest
from aiohttp import web

from appview.moderation.audd import Audd
from appview.moderation.machine import HEADER, Machine
from bin.moderating import policy
from bin.settings import load
from firehose.net import GuardedClient
from storage.postgres import Pool, make_pool
from tests.acceptance.service import Program, until
from tests.integration.moderation.asked import TOKEN, Asked, asked, error, groups, song
from tests.integration.moderation.court import CATALOG
from tests.ports import free_port

KEY = "a key"
URI = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/fm.plyr.track/3mpt222222222"
CLOSED = (
    ("POST", "/scan"),
    ("POST", "/emit-label"),
    ("GET", "/admin/flags"),
    ("GET", "/admin/flags-html"),
    ("POST", "/admin/resolve"),
    ("POST", "/admin/resolve-htmx"),
    ("POST", "/admin/context"),
)


@dataclass
class Service:
    url: str
    http: aiohttp.ClientSession
    pool: Pool
    audd: Asked

    async def ask(self, method: str, path: str, key: str | None = KEY, **options: Any) -> tuple[int, Any]:
        headers = {} if key is None else {HEADER: key}
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.text()

    async def good(self, path: str, **body: Any) -> Any:
        status, value = await self.ask("POST", path, json=body)
        assert status == 200, value
        return value

    async def refused(self, path: str, **body: Any) -> tuple[int, str]:
        status, value = await self.ask("POST", path, json=body)
        assert set(value) == {"error"}
        return status, value["error"]

    async def rows(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as conn:
            return await (await conn.execute(statement)).fetchall()


@asynccontextmanager
async def serving(
    dsn: str,
    folder: Path,
    key: str | None = KEY,
    *,
    scans: bool = True,
    public_url: str | None = "https://plyr.test",
) -> AsyncIterator[Service]:
    settings = load({"database_url": dsn, "data_dir": str(folder), "public_url": public_url}, {})
    async with (
        make_pool(dsn, max_size=2, name="test") as pool,
        GuardedClient(True) as client,
        asked() as audd,
        aiohttp.ClientSession() as http,
    ):
        scanner = Audd(client, audd.url, TOKEN, timeout_s=5) if scans else None
        runner = web.AppRunner(Machine(pool, policy(settings, CATALOG, for_others=True), scanner, key).app())
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield Service(f"http://127.0.0.1:{runner.addresses[0][1]}", http, pool, audd)
        finally:
            await runner.cleanup()


@pytest.fixture
async def service(database: str, tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(database, tmp_path) as service:
        yield service


@pytest.mark.parametrize("key", [None, ""])
async def test_without_a_key_of_its_own_it_is_closed_to_everybody(
    database: str, tmp_path: Path, key: str | None
) -> None:
    async with serving(database, tmp_path, key) as service:
        assert await service.ask("GET", "/health", None) == (
            200, {"status": "ok", "labeler_enabled": True},
        )  # fmt: skip
        for method, path in CLOSED:
            for given in (None, "", KEY):
                status, value = await service.ask(method, path, given, json={"uri": URI})
                assert (status, set(value)) == (503, {"error"})
        assert await service.rows("select count(*) from moderation_event") == [(0,)]


async def test_without_a_public_address_nothing_is_labeled(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, public_url=None) as service:
        assert (await service.ask("GET", "/health"))[1] == {"status": "ok", "labeler_enabled": False}
        status, why = await service.refused("/emit-label", uri=URI)
        assert (status, "PLYR_PUBLIC_URL is not set" in why) == (503, True)
        assert await service.rows("select count(*) from moderation_event") == [(0,)]


async def test_whoever_has_not_the_key_gets_nothing(service: Service) -> None:
    for method, path in CLOSED:
        for given in (None, "", "another key", "ключ".encode().decode("latin-1")):
            assert (await service.ask(method, path, given, data=b"{"))[0] == 401
    assert await service.rows("select count(*) from moderation_event") == [(0,)]


async def test_a_scan_says_what_audd_does_and_keeps_nothing(service: Service) -> None:
    service.audd.says(groups(("00:12", [song(score=87), song("Elegia")])))
    found = await service.good("/scan", audio_url="https://audio.test/a.mp3")
    assert (found["is_flagged"], found["highest_score"], len(found["matches"])) == (True, 87, 2)
    assert found["matches"][0] == {
        "artist": "New Order", "title": "Blue Monday", "album": "Substance", "score": 87,
        "isrc": "GBAAP8300002", "timecode": "01:12", "offset_ms": 12_350,
    }  # fmt: skip
    assert found["raw_response"]["status"] == "success"
    assert service.audd.heard[0]["url"] == "https://audio.test/a.mp3"
    service.audd.says(error(19, "no"))
    assert (await service.refused("/scan", audio_url="https://audio.test/a.mp3"))[0] == 502
    assert (await service.refused("/scan", audio_url="file:///etc/passwd"))[0] == 400
    assert (await service.refused("/scan"))[0] == 400
    assert await service.rows("select count(*) from copyright_scan") == [(0,)]


async def test_without_audd_nothing_is_scanned_and_it_says_so(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, scans=False) as service:
        status, text = await service.refused("/scan", audio_url="https://audio.test/a.mp3")
        assert status == 503
        assert "PLYR_AUDD_TOKEN" in text


async def test_a_violation_is_a_decision_with_its_label_and_is_taken_back_as_one(service: Service) -> None:
    context = {"track_title": "<b>Night</b>", "artist_handle": "ann.test", "highest_score": 3}
    said = await service.good("/emit-label", uri=URI, context=context)
    assert (said["seq"], said["label"]["val"], said["label"]["uri"]) == (1, "copyright-violation", URI)
    assert said["label"]["sig"]["$bytes"]
    cases = "select state, resolution, resolved_by from moderation_case"
    assert await service.rows(cases) == [("resolved", "violation", "service")]

    (flag,) = (await service.ask("GET", "/admin/flags"))[1]["tracks"]
    assert (flag["seq"], flag["uri"], flag["resolved"], flag["context"]) == (1, URI, False, context)
    await service.good("/admin/context", uri=URI, track_title="Day")
    (flag,) = (await service.ask("GET", "/admin/flags"))[1]["tracks"]
    assert flag["context"] == {"track_title": "Day"}

    taken_back = await service.good("/admin/resolve", uri=URI, val="copyright-violation")
    assert taken_back["seq"] == 2
    assert await service.rows(cases) == [("resolved", "false_positive", "service")]
    assert (await service.ask("GET", "/admin/flags"))[1]["tracks"][0]["resolved"] is True
    assert (await service.refused("/admin/resolve", uri=URI))[0] == 409  # there is nothing left
    events = await service.rows("select action, proof from moderation_event order by id")
    assert events == [("open", "key"), ("resolve", "key"), ("note", "key"), ("restore", "key")]


async def test_pages_of_flags_show_no_markup_of_strangers(service: Service) -> None:
    assert "nothing" in (await service.ask("GET", "/admin/flags-html"))[1]
    await service.good("/emit-label", uri=URI, context={"track_title": "<script>x</script>"})
    status, text = await service.ask("GET", "/admin/flags-html")
    assert (status, "<script>" in text, "&lt;script&gt;" in text) == (200, False, True)
    form = {"uri": URI, "val": "copyright-violation"}
    status, text = await service.ask("POST", "/admin/resolve-htmx", data=form)
    assert (status, "taken back" in text) == (200, True)


async def test_any_other_label_is_one_by_hand(service: Service) -> None:
    assert (await service.good("/emit-label", uri=URI, val="porn"))["label"]["val"] == "porn"
    assert (await service.refused("/emit-label", uri=URI, val="porn"))[0] == 409  # it holds
    taken_back = await service.good("/emit-label", uri=URI, val="porn", neg=True)
    assert (taken_back["seq"], taken_back["label"]["neg"]) == (2, True)
    assert await service.rows("select count(*) from moderation_case") == [(0,)]


@pytest.mark.parametrize(
    "body", [{}, {"uri": "x"}, {"uri": URI, "cid": "bafy"}, {"uri": URI, "neg": "no"}, {"uri": 1}]
)
async def test_what_cannot_be_meant_is_refused_and_leaves_nothing(service: Service, body: Any) -> None:
    assert (await service.refused("/emit-label", **body))[0] == 400
    assert await service.rows("select count(*) from moderation_event") == [(0,)]


async def test_a_refused_label_leaves_no_case_behind(service: Service) -> None:
    context = {"track_title": "Night"}
    assert (await service.refused("/emit-label", uri=URI, neg=True, context=context))[0] == 409
    assert await service.rows("select count(*) from moderation_event") == [(0,)]
    assert await service.rows("select count(*) from moderation_case") == [(0,)]


async def test_the_command_serves_until_it_is_told_to_stop(database: str, tmp_path: Path) -> None:
    port = free_port()
    environ = {
        "PLYR_DATABASE_URL": database,
        "PLYR_DATA_DIR": str(tmp_path),
        "PLYR_MODERATION_PORT": str(port),
    }
    async with (
        Program("moderation-service", environ, tmp_path / "log") as program,
        aiohttp.ClientSession() as http,
    ):

        async def healthy() -> bool:
            assert program.running, program.output()
            try:
                async with http.get(f"http://127.0.0.1:{port}/health") as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectionError:
                return False

        await until(healthy, 30, "it to answer")
        async with http.get(f"http://127.0.0.1:{port}/admin/flags") as answer:
            assert answer.status == 503
        assert "PLYR_MODERATION_KEY is not set" in program.output()
        assert await program.stop() == 0
