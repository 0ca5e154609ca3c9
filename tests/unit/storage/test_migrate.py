from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import psycopg
import pytest

from storage import migrate as module
from storage.migrate import (
    LOCK_KEY,
    DatabaseTooNew,
    Migration,
    MigrationEdited,
    MigrationLockBusy,
    MigrationsMisnumbered,
    migrate,
    pending,
    read,
)

SCHEMA = Path(module.__file__).parent / "schema.sql"

numbered = partial(migrate, queue=False)

ONE = Migration(1, "one", "create table one ()")
TWO = Migration(2, "two", "create table two ()")


def ledger(*migrations: Migration) -> dict[int, tuple[str, str]]:
    return {migration.version: (migration.name, migration.checksum) for migration in migrations}


def folder_of(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / f"{name.removeprefix('m')}.sql").write_text(text)
    return path


async def tables(dsn: str) -> set[str]:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        rows = await conn.execute("select tablename from pg_tables where schemaname = 'public'")
        return {row[0] async for row in rows}


def test_only_what_the_database_lacks_is_pending() -> None:
    assert pending([ONE, TWO], {}) == [ONE, TWO]
    assert pending([ONE, TWO], ledger(ONE)) == [TWO]
    assert pending([ONE, TWO], ledger(ONE, TWO)) == []


def test_an_edited_migration_is_refused() -> None:
    edited = Migration(1, "one", "create table one (a int)")
    with pytest.raises(MigrationEdited, match="0001_one was edited"):
        pending([edited, TWO], ledger(ONE))


def test_a_database_newer_than_the_code_is_refused() -> None:
    with pytest.raises(DatabaseTooNew, match="0002_two"):
        pending([ONE], ledger(ONE, TWO))


@pytest.mark.parametrize("name", ["0002_late.sql", "first.sql", "0001-dash.sql"])
def test_a_misnumbered_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("select 1")
    with pytest.raises(MigrationsMisnumbered, match=name.replace(".", r"\.")):
        read(tmp_path)


async def test_each_migration_is_applied_once(empty_database: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, m0001_one=ONE.sql)
    assert await numbered(empty_database, folder) == ["0001_one"]
    assert await numbered(empty_database, folder) == []
    folder_of(tmp_path, m0002_two=TWO.sql)
    assert await numbered(empty_database, folder) == ["0002_two"]
    assert {"one", "two", "schema_migration"} == await tables(empty_database)


async def test_a_migration_that_fails_leaves_nothing_of_itself(empty_database: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, m0001_one=ONE.sql, m0002_two="create table half (); select 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await numbered(empty_database, folder)
    assert {"one", "schema_migration"} == await tables(empty_database)
    folder_of(folder, m0002_two=TWO.sql)
    assert await numbered(empty_database, folder) == ["0002_two"]


async def test_of_many_at_once_one_migrates_and_none_fails(empty_database: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, m0001_one="create table one (); select pg_sleep(0.3)", m0002_two=TWO.sql)
    done = await asyncio.gather(*(numbered(empty_database, folder) for _ in range(5)))
    assert sorted(done) == [[], [], [], [], ["0001_one", "0002_two"]]


async def test_a_lock_held_too_long_is_an_error(empty_database: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, m0001_one=ONE.sql)
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as conn:
        await conn.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        with pytest.raises(MigrationLockBusy):
            await numbered(empty_database, folder, lock_timeout_s=0.3)
    assert await numbered(empty_database, folder) == ["0001_one"]


async def test_who_waits_for_the_lock_holds_no_snapshot(empty_database: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, m0001_one=ONE.sql)
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as conn:
        await conn.execute("create table busy (a int)")
        await conn.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        waiting = asyncio.create_task(numbered(empty_database, folder))
        await asyncio.sleep(0.3)
        await asyncio.wait_for(conn.execute("create index concurrently busy_a on busy (a)"), 60)
        await conn.execute("select pg_advisory_unlock(%s)", (LOCK_KEY,))
        assert await waiting == ["0001_one"]


CATALOG = """
select 'column', c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod)
       || case when a.attnotnull then ' not null' else '' end
       || ' identity:' || a.attidentity::text
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
       || ' at ' || (select count(*) from pg_attribute b
                     where b.attrelid = c.oid and b.attnum between 1 and a.attnum and not b.attisdropped)
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'p')
union all
select 'relation', c.relname, c.relkind::text || coalesce(c.reloptions::text, '') || c.relpersistence::text
  from pg_class c where c.relnamespace = 'public'::regnamespace
union all
select 'index', indexname, indexdef from pg_indexes where schemaname = 'public'
union all
select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
  from pg_constraint where connamespace = 'public'::regnamespace
union all
select 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid)
  from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prokind in ('f', 'p')
   and not exists (select 1 from pg_depend e where e.objid = p.oid and e.deptype = 'e')
union all
select 'trigger', t.tgrelid::regclass || '.' || t.tgname, pg_get_triggerdef(t.oid)
  from pg_trigger t join pg_class c on c.oid = t.tgrelid
 where not t.tgisinternal and c.relnamespace = 'public'::regnamespace
union all
select 'extension', extname, extversion from pg_extension
"""


async def catalog(dsn: str) -> set[tuple[str, str, str]]:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        rows = await conn.execute(CATALOG)
        return {row async for row in rows if "schema_migration" not in f"{row[1]}{row[2]}"}


async def test_schema_sql_equals_the_sum_of_the_migrations(database: str, empty_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as conn:
        await conn.execute(SCHEMA.read_bytes())
    migrated, written = await catalog(database), await catalog(empty_database)
    assert len(migrated) > 50
    assert migrated - written == set()
    assert written - migrated == set()
