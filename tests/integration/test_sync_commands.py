"""`plyr sync status`, `explain` and `rejected` as a person types them."""

from __future__ import annotations

import asyncio
import hashlib
import re

import orjson
import psycopg
import pytest

from bin.cli import main
from indexer.apply import apply_batch
from indexer.prepare import prepare
from lexicons.catalog import Catalog
from storage import outbox
from storage.outbox import Kind
from storage.rejected import Rejection
from tests.fakenet.repo import FakeRepo, frame
from tests.fakenet.world import TRACK, Author, track

RELAY = "wss://relay.example/xrpc/com.atproto.sync.subscribeRepos"
RKEY = "3k2aaaaaaaaaa"


async def filled(dsn: str) -> Author:
    """A repo with one track, and three events that could not be applied."""
    ana, catalog = Author("ana"), Catalog.load()
    raw = frame("#commit", FakeRepo(seed="bob").write([("create", TRACK, RKEY, track("x"))]), 3)
    rejections = [
        Rejection(RELAY, 3, str(ana.did), "bad_signature", "not signed by its key", raw, None),
        Rejection(RELAY, 4, str(ana.did), "identity_unreachable", "no answer", b'{"did": 1}', 30.0),
        Rejection(RELAY, 5, None, "bad_frame", "not DAG-CBOR", b"\xff", None),
    ]
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await apply_batch(
            conn,
            prepare([ana.create(TRACK, RKEY, track("One"))], catalog),
            catalog=catalog,
            source=RELAY,
            seq=9,
            identities=[ana.identity],
            rejections=rejections,
        )
    return ana


@pytest.fixture
def ana(database: str) -> Author:
    return asyncio.run(filled(database))


def said(capsys: pytest.CaptureFixture[str], dsn: str, *words: str) -> tuple[int, str]:
    code = main(["sync", *words, "--database-url", dsn])
    return code, capsys.readouterr().out


def first_number(listing: str) -> str:
    found = re.search(r"^ +(\d+)  \d{4}-", listing, re.MULTILINE)
    assert found is not None
    return found.group(1)


async def _entries(dsn: str) -> list[outbox.Entry]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        return [entry for batch in await outbox.after(conn, 0, rows=100) for entry in batch.entries]


async def _due(dsn: str) -> int:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        row = await (
            await conn.execute("select count(*) from rejected_event where next_attempt_at <= now()")
        ).fetchone()
        assert row is not None
        return row[0]


def test_status_tells_states_sources_and_what_waits(
    ana: Author, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(capsys, database, "status", "--check")
    assert code == 0
    assert "1, 1 active" in text
    assert f"{RELAY}: 9" in text
    assert "3: bad_frame 1, bad_signature 1, identity_unreachable 1; 2 for a person" in text
    assert text.endswith("No alarm.\n")


def test_an_alarm_ends_a_check_with_1_and_names_a_command(
    ana: Author, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(capsys, database, "status", "--check", "--alarm-rejected", "3")
    assert code == 1
    assert "ALARM rejected: 3 events could not be applied" in text
    assert "more: plyr sync rejected list" in text
    code, text = said(capsys, database, "status", "--json", "--alarm-rejected", "3")
    assert code == 0
    assert [alarm["name"] for alarm in orjson.loads(text)["alarms"]] == ["rejected"]


def test_explain_finds_a_repo_by_did_handle_or_record(
    ana: Author, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("update repo set handle = 'ana.test'")
    for subject in (ana.did, "ana.test", "@ana.test", ana.uri(TRACK, RKEY), f"at://ana.test/{TRACK}/{RKEY}"):
        code, text = said(capsys, database, "explain", subject)
        assert (code, f"{ana.did} is @ana.test" in text) == (0, True)
    code, text = said(capsys, database, "explain", "did:plc:nobody")
    assert (code, "we know nothing" in text) == (1, True)
    assert main(["sync", "explain", "not a did", "--database-url", database]) == 2


def test_rejected_events_are_listed_shown_retried_and_dropped(
    ana: Author, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(capsys, database, "rejected", "list")
    assert code == 0
    assert "3 events could not be applied: bad_frame 1, bad_signature 1, identity_unreachable 1" in text
    code, text = said(capsys, database, "rejected", "list", "--reason", "bad_signature", "--did", ana.did)
    number = first_number(text)
    code, text = said(capsys, database, "rejected", "show", number)
    assert code == 0
    assert "It is #commit, with" in text
    assert f"fm.plyr.track/{RKEY}" in text
    assert f"plyr sync explain {ana.did}" in text

    assert asyncio.run(_due(database)) == 0
    assert said(capsys, database, "rejected", "retry", number)[1].startswith("1 event will be tried again")
    assert asyncio.run(_due(database)) == 1
    assert main(["sync", "rejected", "drop", "--database-url", database]) == 2
    assert main(["sync", "rejected", "show", "--database-url", database]) == 2
    assert said(capsys, database, "rejected", "drop", "--did", ana.did)[0] == 0
    assert said(capsys, database, "rejected", "drop", number)[0] == 1
    assert "1 event could not be applied: bad_frame 1" in said(capsys, database, "rejected", "list")[1]
    dropped = [e.detail for e in asyncio.run(_entries(database)) if e.kind is Kind.DROPPED]
    assert {"digest": hashlib.sha256(b'{"did": 1}').hexdigest()} in dropped
    assert len(dropped) == 2


def test_bytes_that_nobody_can_read_are_shown_as_bytes(
    ana: Author, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text = said(capsys, database, "rejected", "list", "--reason", "bad_frame")
    number = next(
        line.split()[0] for line in text.splitlines() if " bad_frame " in line and line[7].isdigit()
    )
    assert "Its bytes cannot be read" in said(capsys, database, "rejected", "show", number)[1]
