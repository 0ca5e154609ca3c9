"""The read driver: order, cancellation, broken connections, a server that goes away and comes back."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from storage.embedded import THROWAWAY, EmbeddedPostgres
from storage.reader import BadValue, Reader, ReadFailed, TimedOut, Unavailable

STATEMENTS = {
    "echo": "select $1::text",
    "sum": "select sum(n) from generate_series(1, $1::int) n",
    "sleep": "select pg_sleep($1::float8)::text",
    "big": "select repeat('x', $1::int) from generate_series(1, 100)",
    "divide": "select 1 / $1::int",
    "write": "insert into repo (did) values ($1::text) returning id",
    "now": "select timestamptz 'epoch' + $1::int * interval '1 second'",
}


@pytest.fixture
async def reads(database: str) -> AsyncIterator[Reader]:
    async with Reader(database, STATEMENTS, connections=2, timeout_s=1) as reader:
        yield reader


async def echo(reads: Reader, text: str) -> bytes | None:
    return (await reads.fetch("echo", text.encode())).cell(0, 0)


async def test_a_thousand_questions_at_once_each_get_their_own_answer(reads: Reader):
    answers = await asyncio.gather(*[echo(reads, f"{number}") for number in range(1000)])
    assert answers == [b"%d" % number for number in range(1000)]


async def test_null_empty_and_unicode_are_kept_apart(reads: Reader):
    assert (await reads.fetch("echo", None)).cell(0, 0) is None
    assert await echo(reads, "") == b""
    assert await echo(reads, "é\U0001f3b5'\"\\") == "é\U0001f3b5'\"\\".encode()


async def test_times_come_in_one_form_whatever_the_database_prefers(database: str):
    with psycopg.connect(database, autocommit=True) as admin:
        name = admin.info.dbname
        admin.execute(f"alter database \"{name}\" set timezone to 'Asia/Tokyo'")  # pyright: ignore[reportArgumentType, reportCallIssue]
        admin.execute(f"alter database \"{name}\" set datestyle to 'SQL, DMY'")  # pyright: ignore[reportArgumentType, reportCallIssue]
    async with Reader(database, STATEMENTS) as reads:
        assert (await reads.fetch("now", b"1")).cell(0, 0) == b"1970-01-01 00:00:01+00"


async def test_an_answer_larger_than_any_buffer_arrives_whole(reads: Reader):
    rows, small = await asyncio.gather(reads.fetch("big", b"100000"), echo(reads, "after"))
    assert rows.count == 100
    assert rows.cell(99, 0) == b"x" * 100_000
    assert small == b"after"


async def test_a_cancelled_caller_leaves_the_others_their_answers(reads: Reader):
    dice = random.Random(3)
    tasks = [asyncio.create_task(echo(reads, f"{number}")) for number in range(500)]
    await asyncio.sleep(0)
    cancelled = set(dice.sample(range(500), 200))
    for number in cancelled:
        tasks[number].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for number, answer in enumerate(answers):
        assert isinstance(answer, asyncio.CancelledError) if number in cancelled else answer == b"%d" % number
    assert await echo(reads, "still here") == b"still here"


async def test_an_error_is_its_askers_alone(reads: Reader):
    wrong = [reads.fetch("divide", b"0"), reads.fetch("sum", b"x"), reads.fetch("echo", b"\xff")]
    right = [echo(reads, f"{number}") for number in range(20)]
    answers = await asyncio.gather(*wrong, *right, return_exceptions=True)
    assert all(isinstance(answer, BadValue) for answer in answers[:3])
    assert answers[3:] == [b"%d" % number for number in range(20)]


async def test_several_at_once_are_answered_in_their_order(reads: Reader):
    many = [reads.fetch_all(("echo", (b"%d" % n,)), ("sum", (b"%d" % n,))) for n in range(1, 100)]
    for number, (said, added) in enumerate(await asyncio.gather(*many), start=1):
        assert said.cell(0, 0) == b"%d" % number
        assert added.cell(0, 0) == b"%d" % (number * (number + 1) // 2)


@pytest.mark.parametrize("place", range(3))
async def test_where_one_of_several_fails_all_do(reads: Reader, place: int):
    asked = [("echo", (b"x",)), ("echo", (b"y",))]
    asked.insert(place, ("divide", (b"0",)))
    failed, right = await asyncio.gather(reads.fetch_all(*asked), echo(reads, "z"), return_exceptions=True)
    assert isinstance(failed, BadValue)
    assert right == b"z"
    assert await echo(reads, "after") == b"after"


async def test_it_cannot_write(reads: Reader, database: str):
    with pytest.raises(ReadFailed, match="read-only"):
        await reads.fetch("write", b"did:plc:x")
    with psycopg.connect(database) as conn:
        assert conn.execute("select count(*) from repo").fetchone() == (0,)


async def test_what_takes_too_long_is_given_up(reads: Reader):
    with pytest.raises(TimedOut):
        await reads.fetch("sleep", b"30")
    assert await echo(reads, "next") == b"next"


@pytest.mark.once
async def test_connections_that_are_cut_are_opened_again(reads: Reader, database: str):
    assert await echo(reads, "before") == b"before"
    for _ in range(5):
        with psycopg.connect(database, autocommit=True) as admin:
            cut = admin.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            ).fetchone()
        assert cut is not None
        assert cut[0] >= 1
        assert await echo(reads, "after") == b"after"


@pytest.mark.once
async def test_a_cut_under_way_is_asked_again(reads: Reader, database: str):
    slow = [asyncio.create_task(reads.fetch("sleep", b"0.5")) for _ in range(2)]
    await asyncio.sleep(0.2)
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    assert [rows.count for rows in await asyncio.gather(*slow)] == [1, 1]


async def test_a_migration_under_running_statements_goes_unnoticed(database: str):
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("create table thing (a int)")
        admin.execute("insert into thing values (1)")
        async with Reader(database, {"thing": "select * from thing"}, connections=2) as reads:
            assert (await reads.fetch("thing")).cell(0, 0) == b"1"
            admin.execute("alter table thing alter a type text using 'one'")
            admin.execute("alter table thing add b text default 'two'")
            rows = await reads.fetch("thing")
            assert (rows.cell(0, 0), rows.cell(0, 1)) == (b"one", b"two")


async def test_tables_that_come_later_are_waited_for(empty_database: str):
    async with Reader(empty_database, {"later": "select a from later"}, connect_wait_s=0.3) as reads:
        with pytest.raises(Unavailable, match="later"):
            await reads.fetch("later")
        with psycopg.connect(empty_database, autocommit=True) as admin:
            admin.execute("create table later as select 5 as a")
        for _ in range(50):
            try:
                assert (await reads.fetch("later")).cell(0, 0) == b"5"
                break
            except Unavailable:
                await asyncio.sleep(0.1)
        else:
            pytest.fail("never came")


async def test_a_server_that_restarts_is_found_again(data_dir: Path):
    first = EmbeddedPostgres(data_dir, server_settings=THROWAWAY)
    dsn = first.start()
    try:
        async with Reader(dsn, {"echo": STATEMENTS["echo"]}, connections=2, connect_wait_s=0.3) as reads:
            assert await echo(reads, "up") == b"up"
            first.stop()
            with pytest.raises(Unavailable):
                await echo(reads, "down")
            first = EmbeddedPostgres(data_dir, server_settings=THROWAWAY)
            first.start()
            for _ in range(300):
                try:
                    assert await echo(reads, "up again") == b"up again"
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
            else:
                pytest.fail("not found again")
    finally:
        first.stop()


async def test_a_server_that_falls_silent_is_given_up_on(database: str):
    async with Reader(database, STATEMENTS, connections=1, timeout_s=0.5, connect_wait_s=3) as reads:
        assert await echo(reads, "before") == b"before"
        with psycopg.connect(database) as conn:
            row = conn.execute(
                "select pid from pg_stat_activity"
                " where datname = current_database() and application_name = 'plyr-read'"
            ).fetchone()
        assert row is not None
        try:
            os.kill(row[0], signal.SIGSTOP)
        except (PermissionError, ProcessLookupError):
            pytest.skip("this Postgres is not ours to stop")
        try:
            async with asyncio.timeout(60):
                with pytest.raises(TimedOut, match="does not answer"):
                    await echo(reads, "frozen")
                assert await echo(reads, "after") == b"after"
        finally:
            os.kill(row[0], signal.SIGCONT)


async def test_the_callers_own_error_stays_what_it_is(database: str):
    with pytest.raises(KeyError, match="mine"):
        async with Reader(database, STATEMENTS):
            raise KeyError("mine")


async def test_a_statement_that_cannot_be_prepared_in_time_is_given_up(database: str):
    with psycopg.connect(database) as conn:
        conn.execute("lock table repo")
        async with Reader(database, {"repos": "select count(*) from repo"}, timeout_s=0.5) as reads:
            with pytest.raises(TimedOut):
                await reads.fetch("repos")
            conn.rollback()
            assert (await reads.fetch("repos")).cell(0, 0) == b"0"


async def test_a_statement_is_prepared_where_it_is_asked_for_and_once(database: str):
    async with Reader(
        database, STATEMENTS | {"all": "select name from pg_prepared_statements order by 1"}, connections=1
    ) as reads:
        asked = [reads.fetch("echo", b"x"), reads.fetch("divide", b"0"), reads.fetch("echo", b"y")]
        await asyncio.gather(*asked, return_exceptions=True)
        assert await echo(reads, "z") == b"z"
        rows = await reads.fetch("all")
        assert [rows.cell(number, 0) for number in range(rows.count)] == [b"all", b"divide", b"echo"]
