"""`sync explain` tells each state of a repo as a story that a person understands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from firehose.events import Event
from firehose.host_errors import HostUnreachable
from indexer import outcome
from indexer.apply import apply_batch
from indexer.explain import explain, explain_record, span, unknown
from indexer.prepare import prepare
from indexer.states import State
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Nsid, Rkey
from storage import decisions, sync
from storage import explain as tables
from storage.decisions import Decision
from storage.postgres import Connection
from storage.rejected import Rejection
from tests.fakenet.world import TRACK, Author, track

RELAY = "wss://relay.example/xrpc/com.atproto.sync.subscribeRepos"
CATALOG = Catalog.load()
A, B = "3k2aaaaaaaaaa", "3k2bbbbbbbbbb"


async def apply(
    conn: Connection, author: Author, *events: Event, rejections: Sequence[Rejection] = ()
) -> None:
    await apply_batch(
        conn,
        prepare(events, CATALOG),
        catalog=CATALOG,
        source=RELAY,
        seq=None,
        identities=[author.identity],
        rejections=rejections,
    )


async def story(conn: Connection, did: Did, *, later_s: float = 0) -> str:
    facts = await tables.facts(conn, did, limit=30)
    assert facts is not None
    return "\n".join(explain(facts, datetime.now(UTC) + timedelta(seconds=later_s), limit=30))


async def record_story(conn: Connection, author: Author, rkey: str) -> str:
    facts = await tables.facts(conn, author.did, limit=30)
    assert facts is not None
    version = await tables.record(conn, facts.account.id, Nsid(TRACK), Rkey(rkey))
    uri = author.uri(TRACK, rkey)
    return "\n".join(explain_record(facts, uri, version, datetime.now(UTC), limit=30))


def assert_in_order(text: str, *parts: str) -> None:
    """The words are there, in this order, wherever lines are broken."""
    flat, at = " ".join(text.split()), 0
    for part in parts:
        found = flat.find(part, at)
        assert found >= 0, f"{part!r} is not where it belongs in:\n{text}"
        at = found + len(part)


async def test_a_repo_that_was_seen_from_its_first_commit_on_is_active(conn: Connection, ana: Author) -> None:
    await apply(conn, ana, ana.create(TRACK, A, track("One")))
    await apply(conn, ana, ana.create(TRACK, B, track("Two")))
    assert_in_order(
        await story(conn, ana.did),
        f"{ana.did}, without a handle that could be verified",
        "at home at https://pds.example",
        "its records are shown",
        f"ACTIVE: everything that it signed is here, up to rev {ana.repo.rev}",
        "What happens next",
        "its DID document and handle are looked up",
        "fm.plyr.track: 2 records",
        "What happened, newest last (UTC)",
        "found tracked from here on",
        f"create fm.plyr.track/{A}",
        "state active",
        f"create fm.plyr.track/{B}",
    )


async def test_a_repo_that_was_met_in_the_middle_is_pending(conn: Connection, ana: Author) -> None:
    first = ana.create(TRACK, A, track("One"))
    await apply(conn, ana, ana.create(TRACK, B, track("Two")))
    assert_in_order(
        await story(conn, ana.did),
        "PENDING: its commits are here up to rev",
        f"Missing: everything up to rev {first.rev}",
        "the whole repo is read from https://pds.example",
    )


async def test_a_repo_that_is_only_known_waits_for_its_identity(conn: Connection, ana: Author) -> None:
    await conn.execute("insert into repo (did) values (%s)", (ana.did,))
    await conn.execute("insert into profile (repo_id, card, search) select id, '', '' from repo")
    await decisions.add(conn, [Decision(ana.did, "discovery", "found", "listed with fm.plyr.like", RELAY)])
    assert_in_order(
        await story(conn, ana.did),
        "where it is at home is not known yet",
        "PENDING: the account is known, none of its commits is yet.",
        "now: its DID document and handle are looked up",
        "then: the whole repo is read, once its PDS and key are known",
        "What we hold no record of ours",
        "discovery found: listed with fm.plyr.like (relay.example)",
    )


async def test_a_gap_is_told_with_both_of_its_ends(conn: Connection, ana: Author) -> None:
    first = ana.create(TRACK, A, track("One"))
    missed = ana.create(TRACK, B, track("Two"))
    third = ana.update(TRACK, A, track("Three"))
    await apply(conn, ana, first)
    await apply(conn, ana, third)
    text = await story(conn, ana.did)
    assert_in_order(
        text,
        f"DESYNCHRONIZED: its newest commit that is here has rev {third.rev}",
        f"Missing: what leads from rev {first.rev}",
        f"to rev {missed.rev}",
        "the whole repo is read from https://pds.example",
        f"update fm.plyr.track/{A}",
        "state desynchronized: what leads from rev",
    )
    assert "overdue" not in text
    assert_in_order(await story(conn, ana.did, later_s=300), "overdue: does `plyr sync run` run")


async def test_a_resync_under_way_names_its_host_and_its_time(conn: Connection, ana: Author) -> None:
    ana.create(TRACK, A, track("One"))
    await apply(conn, ana, ana.create(TRACK, B, track("Two")))
    await conn.execute("update repo set resync_due = now()")
    (due,) = await sync.take(conn, limit=1, lease_s=900, busy=())
    await decisions.add(conn, [Decision(ana.did, "state", State.RESYNCING, outcome.taken(due), due.pds)])
    assert_in_order(
        await story(conn, ana.did),
        "RESYNCING: the whole repo is being read from https://pds.example right now, which may take until",
        "in 15 min: if the reading has not ended by then, it is begun again",
        "state resyncing: being read whole from https://pds.example: it was never read from its beginning",
    )


async def test_an_error_tells_the_reason_how_often_and_when_again(conn: Connection, ana: Author) -> None:
    ana.create(TRACK, A, track("One"))
    await apply(conn, ana, ana.create(TRACK, B, track("Two")))
    await conn.execute("update repo set resync_due = now(), resync_tries = 3")
    (due,) = await sync.take(conn, limit=1, lease_s=900, busy=())
    row = outcome.failed(due, HostUnreachable("https://pds.example", "no answer within 30 s"))
    assert await sync.put_back(conn, [row]) == [(ana.did, "resyncing", "error")]
    await decisions.add(conn, [Decision(ana.did, "resync", "error", outcome.put_back(row), due.pds)])
    assert_in_order(
        await story(conn, ana.did),
        "ERROR: reading the whole repo failed 4 times, because:",
        "no answer within 30 s",
        "Missing: everything up to rev",
        "in 40 s: the whole repo is read from https://pds.example",
        "resync error: not read:",
    )


async def test_a_hidden_account_says_who_hides_it(conn: Connection, ana: Author) -> None:
    await apply(conn, ana, ana.create(TRACK, A, track("One")))
    await conn.execute("update repo set active = false, status = 'deactivated', taken_down = 'stolen songs'")
    await conn.execute("update repo set account_due = now() + interval '1 hour', account_tries = 2")
    await conn.execute("update profile set hidden = true")
    assert_in_order(
        await story(conn, ana.did),
        "NOT SHOWN to anybody: its PDS says deactivated, and we took it down: stolen songs",
        "in 60 min: its current PDS is asked how the account stands (2 attempts without an answer)",
    )
    assert_in_order(await record_story(conn, ana, A), "NOT SHOWN, as nothing of this account is")


async def test_what_could_not_be_applied_is_told_with_the_command_that_shows_it(
    conn: Connection, ana: Author
) -> None:
    rejection = Rejection(RELAY, 7, ana.did, "bad_signature", "not signed by its key", b"raw", 30.0)
    await apply(conn, ana, ana.create(TRACK, A, track("One")), rejections=[rejection])
    assert_in_order(
        await story(conn, ana.did),
        "in 30 s: an event that could not be applied is tried again",
        "What could not be applied: 1 event",
        "bad_signature: not signed by its key (from relay.example, seq 7, tried once, again in 30 s)",
        "plyr sync rejected show 1",
        f"plyr sync rejected list --did {ana.did}",
        "rejected set aside, bad_signature: not signed by its key",
    )


async def test_a_record_is_told_with_every_version_that_came(conn: Connection, ana: Author) -> None:
    created = ana.create(TRACK, A, track("One"))
    updated = ana.update(TRACK, A, {"$type": TRACK})
    await apply(conn, ana, created)
    assert_in_order(
        await record_story(conn, ana, A),
        f"at://{ana.did}/fm.plyr.track/{A}",
        f"SHOWN, in the version of rev {created.rev}",
        "Proven by the commit that wrote it; fm.plyr.sync.getRecordProof",
        f"create at rev {created.rev}, valid, from relay.example",
        "ACTIVE",
    )
    await apply(conn, ana, updated)
    assert_in_order(await record_story(conn, ana, A), "NOT SHOWN: its lexicon refuses the version of rev")
    await apply(conn, ana, ana.delete(TRACK, A))
    assert_in_order(
        await record_story(conn, ana, A),
        "DELETED at rev",
        "create at rev",
        "update at rev",
        "invalid",
        "delete at rev",
    )
    assert_in_order(await record_story(conn, ana, "3k2zzzzzzzzzz"), "We never heard of this record.")


def test_a_stranger_is_told_apart_from_an_empty_story() -> None:
    assert "we know nothing" in unknown("did:plc:nobody")[0]
    assert "plyr sync reconcile" in unknown("did:plc:nobody")[1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 days")]
)
def test_time_is_told_in_one_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text
