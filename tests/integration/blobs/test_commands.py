"""`plyr blobs audit` and `collect`, on a folder and in S3, as a person runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from bin import blob_store
from bin.cli import main
from bin.settings import Settings, load
from storage.blobs.store import Key
from tests.integration.blobs.test_rows import stored
from tests.s3.fixtures import two_buckets


@pytest.fixture(params=["filesystem", "s3"])
def flags(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> dict[str, str]:
    common = {"database_url": database, "data_dir": str(tmp_path)}
    if request.param == "filesystem":
        return common
    config = asyncio.run(two_buckets(request.getfixturevalue("swift")))
    return common | {
        "s3_bucket": config.public_bucket,
        "s3_private_bucket": config.private_bucket,
        "s3_endpoint": str(config.endpoint),
        "s3_access_key": config.access_key,
        "s3_secret_key": config.secret_key,
    }


@pytest.fixture
def run(flags: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def ran(*words: str) -> tuple[int, str]:
        given = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        code = main(["blobs", *words, *given])
        return code, capsys.readouterr().out

    return ran


async def fill(settings: Settings) -> str:
    """A blob with an owner and one that had none for two days; the key of the first."""
    assert settings.database_url
    async with (
        await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as conn,
        blob_store.opened(settings) as store,
    ):
        kept, old = await stored(conn, store, b"kept", owner="one"), await stored(conn, store, b"old")
        await conn.execute(
            "update blob set unowned_at = now() - %s where id = %s", [timedelta(days=2), old.id]
        )
        return str(kept.key)


async def lose(settings: Settings, key: str) -> None:
    async with blob_store.opened(settings) as store:
        await store.delete(Key.parse(key))


def test_what_is_not_needed_goes_and_what_is_lost_is_told(
    flags: dict[str, str], run: Callable[..., tuple[int, str]]
) -> None:
    settings = load(flags)
    kept = asyncio.run(fill(settings))
    assert run("audit") == (0, "2 blobs are as their rows say.\n")
    assert run("collect") == (0, "Removed 1 blob (3 bytes) and 0 uploads that stood still.\n")
    assert run("collect") == (0, "Nothing to remove.\n")
    assert run("audit", "--fast") == (0, "1 blob is as their rows say.\n")
    asyncio.run(lose(settings, kept))
    code, told = run("audit")
    assert code == 1
    assert told == f"missing   {kept}  4 bytes, no object\n0 blobs are right, 1 not.\n"
