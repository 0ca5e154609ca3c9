from __future__ import annotations

import psycopg
import pytest

from storage import queue_tables
from storage.migrate import migrate
from storage.queue_tables import QueueNotOurs, QueueTooNew, missing, steps


def test_the_package_says_what_an_older_one_lacks() -> None:
    known = [step.stem for step in steps()]
    assert len(known) > 30
    assert missing(known, known[-1]) == []
    assert missing(known, known[-3]) == known[-2:]
    with pytest.raises(QueueTooNew, match="_pre_more, the installed"):
        missing(known, "99.00.00_01_pre_more")


async def test_the_queues_tables_are_made_once_in_a_schema_of_their_own(empty_database: str) -> None:
    newest = steps()[-1].stem
    assert (await migrate(empty_database))[-1] == f"procrastinate {newest}"
    assert await migrate(empty_database) == []
    async with await psycopg.AsyncConnection.connect(empty_database) as conn:
        rows = await conn.execute("select schemaname from pg_tables where tablename like 'procrastinate%'")
        assert {row[0] async for row in rows} == {"procrastinate"}


async def test_what_an_older_package_made_gets_the_steps_since(empty_database: str) -> None:
    await migrate(empty_database)
    *_, older, last = [step.stem for step in steps()]
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as conn:
        # The last step replaces a function, so that it can be done twice.
        await conn.execute("update procrastinate.plyr_made set name = %s", (older,))
        assert await queue_tables.bring(conn) == [f"procrastinate {last}"]
        assert await queue_tables.bring(conn) == []
        unbound = await conn.execute(
            "select proname from pg_proc where pronamespace = 'procrastinate'::regnamespace"
            " and coalesce(proconfig::text, '') not like '%%search_path=procrastinate%%'"
        )
        assert await unbound.fetchall() == []
        where = await (await conn.execute("show search_path")).fetchone()
        assert where == ('"$user", public',)


async def test_what_a_newer_package_made_is_refused(empty_database: str) -> None:
    await migrate(empty_database)
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as conn:
        await conn.execute("insert into procrastinate.plyr_made (name) values ('99.00.00_01_pre_more')")
    with pytest.raises(QueueTooNew):
        await migrate(empty_database)


async def test_somebody_elses_schema_is_left_alone(empty_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as conn:
        await conn.execute("create schema procrastinate create table procrastinate_jobs (id int)")
    with pytest.raises(QueueNotOurs):
        await migrate(empty_database)
