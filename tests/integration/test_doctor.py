"""`plyr doctor` on a real Postgres, a real store and a served instance; and when each of them is broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from aiohttp import web

from appview.app import build_app, make_reader
from appview.auth.keyring import GivenKeys, KeyFile, KeyRing, new_key
from appview.protocol import make_runner
from appview.service import AppConfig
from bin.checkup import database as looks
from bin.cli import main
from lexicons.catalog import Catalog
from storage import vitals
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.s3 import S3Store
from tests.ports import free_port
from tests.s3.fixtures import two_buckets
from tests.s3.server import Swift


@dataclass
class Practice:
    """Everything that is looked at, and a way to break it. `date` of what the relay and directory say."""

    dsn: str
    data: Path
    port: int
    capsys: pytest.CaptureFixture[str]
    date: datetime | None = None
    outside: str = ""
    flags: dict[str, str] = field(default_factory=dict[str, str])

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement.encode())

    async def examine(self, *words: str) -> tuple[int, str]:
        self.capsys.readouterr()
        flags = {
            "--database-url": self.dsn,
            "--data-dir": str(self.data),
            "--sources": self.outside.replace("http", "ws"),
            "--plc-url": self.outside,
            "--public-url": f"http://localhost:{self.port}",
            **self.flags,
        }
        flags = {name: value for name, value in flags.items() if value}
        given = [word for pair in flags.items() for word in pair]
        code = await asyncio.to_thread(main, ["doctor", *words, "--dev-loopback", *given])
        return code, self.capsys.readouterr().out

    async def findings(self, subject: str) -> list[tuple[str, str, str | None]]:
        code, text = await self.examine("--json")
        told = orjson.loads(text)
        failed = [each for each in told["findings"] if each["verdict"] == "fail"]
        assert told["failed"] == len(failed)
        assert code == (1 if failed else 0)
        return [
            (each["verdict"], each["text"], each["todo"])
            for each in told["findings"]
            if each["subject"] == subject
        ]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        date = self.date or datetime.now(UTC)
        return web.json_response({}, headers={"Date": format_datetime(date, usegmt=True)})


@pytest.fixture
async def practice(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Practice]:
    """One that is well."""
    practice = Practice(database, tmp_path / "data", free_port(), capsys)
    KeyFile(practice.data / "keys" / "encryption.keys").read()
    FilesystemStore(practice.data / "blobs")
    outside = web.Application()
    outside.router.add_get("/{path:.*}", practice.answer)
    async with AsyncExitStack() as stack:
        reads = await stack.enter_async_context(make_reader(database, connections=1))
        url = f"http://localhost:{practice.port}"
        config = AppConfig(
            version="9", public_url=url, service_did=f"did:web:localhost%3A{practice.port}", stats_ttl_s=0
        )
        for runner, port in (
            (web.AppRunner(outside, shutdown_timeout=0.1), 0),
            (make_runner(build_app(reads, Catalog.load(), config)), practice.port),
        ):
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", port).start()
            if not port:
                practice.outside = f"http://127.0.0.1:{runner.addresses[0][1]}"
        source = practice.outside.replace("http", "ws") + "/xrpc/com.atproto.sync.subscribeRepos"
        practice.sql(f"insert into source_cursor (url, seq) values ('{source}', 7)")
        yield practice


async def test_who_is_well_is_told_so_line_by_line(practice: Practice) -> None:
    code, text = await practice.examine()
    assert code == 0, text
    *found, _, counts = text.rstrip("\n").split("\n")
    assert [(line[:4].strip(), line[6:16].strip()) for line in found] == [
        ("ok", "settings"), ("ok", "database"), ("ok", "schema"), ("ok", "clocks"), ("ok", "locks"),
        ("ok", "tables"), ("ok", "keys"), ("ok", "cursor"), ("ok", "alarms"), ("ok", "images"),
        ("ok", "scans"), ("ok", "cases"), ("skip", "labelers"), ("ok", "storage"), ("ok", "disk"),
        ("ok", "source"), ("ok", "clocks"), ("ok", "directory"), ("ok", "clocks"), ("skip", "dns"),
        ("ok", "did"), ("skip", "lexicons"), ("skip", "labeler"),
    ], text  # fmt: skip
    assert counts == "0 failed, 0 to look at, 19 well."


async def test_nothing_is_changed_by_looking(practice: Practice) -> None:
    def state() -> list[tuple[Any, ...]]:
        with psycopg.connect(practice.dsn) as conn:
            rows = conn.execute("select count(*) from blob").fetchall()
            return [*rows, *sorted((str(path), path.stat().st_size) for path in practice.data.rglob("*"))]

    before = state()
    await practice.examine()
    assert state() == before


async def test_a_migration_that_is_not_noted_is_a_failure(practice: Practice) -> None:
    practice.sql("delete from schema_migration where version = 7")
    [(verdict, text, todo)] = await practice.findings("schema")
    assert (verdict, "0007_" in text, bool(todo)) == ("fail", True, True)


async def test_a_migration_that_was_edited_or_is_to_do_is_a_failure(practice: Practice) -> None:
    practice.sql("update schema_migration set checksum = 'x' where version = 3")
    [(verdict, text, _)] = await practice.findings("schema")
    assert (verdict, "0003_" in text, "edited" in text) == ("fail", True, True)
    practice.sql("drop schema procrastinate cascade", "delete from schema_migration")
    found = await practice.findings("schema")
    assert [(verdict, todo) for verdict, _, todo in found] == [("fail", "plyr migrate")] * 2


async def test_dead_rows_and_lost_settings_of_a_hot_table_are_told(practice: Practice) -> None:
    practice.sql(
        "alter table track_stat set (autovacuum_enabled = off)",
        "insert into track_stat (id) select generate_series(1, 8000)",
        "update track_stat set likes = likes + 1",
        "alter table job reset (autovacuum_vacuum_scale_factor)",
    )
    async with asyncio.timeout(60):
        while not any(
            "rows of track_stat are dead" in text for _, text, _ in await practice.findings("tables")
        ):
            await asyncio.sleep(0.2)  # the server tells its statistics a moment later
    found = await practice.findings("tables")
    assert [verdict for verdict, _, _ in found] == ["warn", "fail", "warn"]
    assert found[0][2] == "alter table job set (autovacuum_vacuum_scale_factor = 0.02)"
    assert "8,000 of 16,000 rows of track_stat are dead, vacuumed never" in found[2][1]
    practice.sql(found[0][2] or "", found[1][2] or "", "vacuum analyze track_stat")
    async with asyncio.timeout(60):
        while [verdict for verdict, _, _ in await practice.findings("tables")] != ["ok"]:
            await asyncio.sleep(0.2)


async def test_a_transaction_that_is_forgotten_is_told(practice: Practice) -> None:
    """And who waits for it: with the bounds that a test has time for."""
    practice.sql("create table held ()")
    with psycopg.connect(practice.dsn, application_name="somebody") as forgotten:
        forgotten.execute("lock table held")
        waiting = asyncio.create_task(_lock(practice.dsn))
        async with await psycopg.AsyncConnection.connect(practice.dsn, autocommit=True) as conn:
            assert [each.verdict for each in await looks.locks(conn)] == ["ok"]
            async with asyncio.timeout(60):
                while len(found := await vitals.stuck(conn, waits_s=0, idle_s=0)) < 2:
                    await asyncio.sleep(0.05)
        assert {(each.who, each.waits) for each in found} == {("somebody", False), ("another", True)}
        forgotten.rollback()
        await waiting


async def _lock(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, application_name="another") as conn:
        await conn.execute("lock table held")


async def test_a_store_that_takes_nothing_is_a_failure(practice: Practice) -> None:
    folder = practice.data / "blobs" / "staged"
    folder.rmdir()
    folder.write_text("no folder")
    [(verdict, text, todo)] = await practice.findings("storage")
    assert (verdict, "cannot be used" in text, "PLYR_BLOB_DIR" in (todo or "")) == ("fail", True, True)


async def test_an_s3_is_tried_too(practice: Practice, swift: Swift) -> None:
    config = await two_buckets(swift)
    practice.flags |= {
        "--s3-bucket": config.public_bucket,
        "--s3-private-bucket": config.private_bucket,
        "--s3-access-key": config.access_key,
        "--s3-secret-key": config.secret_key,
        "--s3-endpoint": config.endpoint or "",
    }
    assert await practice.findings("storage") == [("ok", f"{config.public_bucket} takes and gives", None)]
    async with S3Store(config) as store:
        assert [each async for each in store.list_staged()] == []
    practice.flags["--s3-private-bucket"] = "another"
    [(verdict, _, todo)] = await practice.findings("storage")
    assert (verdict, "read, write and list both buckets" in (todo or "")) == ("fail", True)


async def test_a_key_that_others_can_read_is_a_failure(practice: Practice) -> None:
    path = practice.data / "keys" / "encryption.keys"
    path.chmod(0o644)
    [(verdict, text, todo)] = await practice.findings("keys")
    assert (verdict, text.endswith(f"can read {path}"), todo) == ("fail", True, f"chmod 600 {path}")


async def test_keys_that_are_old_or_lost_are_told(practice: Practice) -> None:
    file = KeyFile(practice.data / "keys" / "encryption.keys")
    (key,) = file.read()
    sealed = KeyRing(GivenKeys([key])).seal(b"secret").hex()
    practice.sql(
        "insert into session (kind, did, scope, credentials)"
        f" values ('browser', 'did:plc:a', 'atproto', '\\x{sealed}')"
    )
    assert (await practice.findings("keys"))[0][0] == "ok"
    file.write([new_key(), key])
    assert await practice.findings("keys") == [
        ("warn", "older keys still seal 1", "plyr keys rotate, or have it end")
    ]
    file.write([new_key()])
    [(verdict, text, _)] = await practice.findings("keys")
    assert (verdict, text.startswith("no key opens 1 of")) == ("fail", True)
    file.path.unlink()
    [(verdict, text, _)] = await practice.findings("keys")
    assert (verdict, text) == ("fail", "there is no key for what is sealed: 1")
    assert not file.path.exists()


async def test_a_source_that_is_gone_is_a_failure_unless_another_is_there(practice: Practice) -> None:
    there, gone = practice.outside.replace("http", "ws"), f"ws://127.0.0.1:{free_port()}"
    practice.flags["--sources"] = gone
    [(verdict, text, todo)] = await practice.findings("source")
    assert (verdict, text.startswith(f"{gone} is not there"), bool(todo)) == ("fail", True, True)
    assert [verdict for verdict, _, _ in await practice.findings("cursor")] == ["warn"]
    practice.flags["--sources"] = f"{gone},{there}"
    assert [verdict for verdict, _, _ in await practice.findings("source")] == ["warn", "ok"]


async def test_a_cursor_that_stands_still_and_every_alarm_is_told(practice: Practice) -> None:
    practice.sql("update source_cursor set updated_at = now() - interval '1 hour'")
    assert [verdict for verdict, _, _ in await practice.findings("cursor")] == ["warn"]
    [(verdict, text, todo)] = await practice.findings("alarms")
    assert (verdict, text.split(":")[0], todo) == ("warn", "sources_stand_still", "plyr ingest")


async def test_a_clock_that_is_off_is_told(practice: Practice) -> None:
    practice.date = datetime.now(UTC) + timedelta(hours=1)
    database, *others = await practice.findings("clocks")
    assert database[0] == "ok"
    assert [(verdict, "ahead of ours" in text) for verdict, text, _ in others] == [("fail", True)] * 2


async def test_another_document_at_our_address_is_a_failure(practice: Practice) -> None:
    practice.flags["--public-url"] = practice.outside.replace("127.0.0.1", "localhost")
    [(verdict, text, _)] = await practice.findings("did")
    assert (verdict, "is not the document of did:web:localhost%3A" in text) == ("fail", True)
    practice.flags["--public-url"] = f"http://localhost:{free_port()}"
    assert [verdict for verdict, _, _ in await practice.findings("did")] == ["warn"]
    practice.flags["--public-url"] = f"http://127.0.0.1:{practice.port}"
    [(verdict, text, _)] = await practice.findings("did")
    assert (verdict, "HTTP status 404" in text) == ("fail", True)


async def test_pictures_without_renditions_are_told(practice: Practice) -> None:
    practice.sql(
        "insert into blob (area, sha256, bytes, crc32, mime, state)"
        " values ('image', sha256('a'), 1, 1, 'image/png', 'published')",
        "insert into blob_owner (kind, owner, blob_id) select 'track', 'did:plc:a/x', id from blob",
    )
    [(verdict, text, todo)] = await practice.findings("images")
    assert (verdict, text.split(";")[0]) == ("warn", "1 lack a rendition")
    assert todo == "see that it runs: plyr jobs list --kind images.render"


async def test_where_nothing_is_nothing_is_made(practice: Practice, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    practice.flags["--data-dir"] = str(empty)
    practice.flags["--database-url"] = ""
    code, text = await practice.examine()
    assert "skip  database   no database in" in text
    assert "skip  storage    " in text
    assert code == 0
    assert not empty.exists()


async def test_without_a_database_the_rest_is_looked_at(practice: Practice) -> None:
    practice.flags["--database-url"] = f"postgresql://nobody@127.0.0.1:{free_port()}/plyr"
    [(verdict, _, todo)] = await practice.findings("database")
    assert (verdict, todo) == ("fail", "see that it runs, and PLYR_DATABASE_URL")
    assert [verdict for verdict, _, _ in await practice.findings("did")] == ["ok"]
    assert await practice.findings("tables") == []
