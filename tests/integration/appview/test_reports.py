"""Reports come in, are refused by name, and open cases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from appview.app import make_reader
from appview.auth.assembly import assembled
from appview.auth.desk import SignIn
from appview.auth.keyring import KeyFile, KeyRing
from appview.limits import Limit
from appview.moderation.reports import Reports
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage.postgres import make_pool
from storage.sessions import Kind
from tests.fakenet.repo import FakeRepo
from tests.fakenet.tokens import token
from tests.integration.appview.auth.signing import Village
from tests.integration.appview.service import Answer, Server
from tests.integration.appview.signed import ALSO_OURS, OURS, World, made
from tests.integration.appview.uploads.studio import SCOPE, add_key

NSID = "com.atproto.moderation.createReport"
REASON = "com.atproto.moderation.defs#reason"
CID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
OLD_CID = "bafyreia7lcuhqjtwoww5cjyzg5x6nkv4rtbwcsi5d5cq6bnbyxkdvkbjpe"
MOST = 4


@dataclass
class Desk:
    """A server that takes reports. Ann is known here and has a track, Bob is known to the directory alone."""

    world: World
    server: Server
    ann: FakeRepo
    bob: FakeRepo

    @property
    def track(self) -> str:
        return f"at://{self.ann.did}/fm.plyr.track/3jzfcijpj2z2a"

    async def report(self, bearer: str | None, subject: Any, **more: Any) -> Answer:
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        body = {"reasonType": f"{REASON}Spam", "subject": subject} | more
        return await self.server.request("POST", f"/xrpc/{NSID}", json=body, headers=headers)

    def by(self, who: FakeRepo, aud: str = OURS, lxm: str = NSID) -> str:
        return token(who.key, iss=who.did, aud=aud, lxm=lxm)

    async def rows(self, statement: Any, *params: Any) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.world.dsn) as conn:
            return await (await conn.execute(statement, params)).fetchall()

    async def cases(self) -> list[tuple[Any, ...]]:
        return await self.rows("select id, subject, did, opened_by, state from moderation_case order by id")

    async def events(self) -> list[tuple[Any, ...]]:
        return await self.rows(
            "select case_id, subject, actor, proof, reason, note, detail from moderation_event order by id"
        )


def repo(did: str) -> dict[str, str]:
    return {"$type": "com.atproto.admin.defs#repoRef", "did": did}


def record(uri: str, cid: str = CID) -> dict[str, str]:
    return {"$type": "com.atproto.repo.strongRef", "uri": uri, "cid": cid}


@pytest.fixture
async def desk(database: str, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Desk]:
    sign_in = SignIn(
        SCOPE,
        catalog.definitions,
        "https://front.test",
        origin="http://127.0.0.1",
        collections=catalog.collections.own,
    )
    async with made(database, catalog) as world, AsyncExitStack() as stack:
        enter = stack.enter_async_context
        pool = await enter(make_pool(database, max_size=4, name="test"))
        reads = await enter(make_reader(database, connections=1))
        auth = await enter(assembled(pool, reads, KeyRing(KeyFile(tmp_path / "keys")), Village(), sign_in))
        reports = Reports(pool, catalog.collections.own, Limit(MOST, 3600))
        server = await enter(world.server(sessions=auth.sessions, parts=lambda _: {"reports": reports}))
        ann, bob = world.known("ann"), world.stranger("bob")
        for collection, rkey, cid in (
            ("fm.plyr.track", "3jzfcijpj2z2a", CID),
            ("fm.plyr.track", "3jzfcijpj2z2b", None),
            ("app.bsky.actor.profile", "self", CID),
        ):
            await world.execute(
                "insert into record (repo_id, collection, rkey, rev, cid, block, verified)"
                " select id, %s, %s, '3jzfcijpj2z2a', %s, %s, true from repo where did = %s",
                collection, rkey, cid, cid and b"x", ann.did,
            )  # fmt: skip
        yield Desk(world, server, ann, bob)


async def test_a_token_that_was_used_elsewhere_reports_nothing(desk: Desk):
    await desk.world.execute(
        "insert into used_token values (%s, 'one', now() + interval '1 minute')", desk.ann.did
    )
    used = token(desk.ann.key, iss=desk.ann.did, aud=OURS, lxm=NSID, jti="one")
    answer = await desk.report(used, record(desk.track))
    assert (answer.status, answer.json["error"]) == (401, "BadJwt")
    assert await desk.cases() == []


@pytest.mark.parametrize("aud", [
    f"{OURS}#atproto_labeler", f"{OURS}#plyr_appview", OURS, f"{ALSO_OURS}#atproto_labeler",
])  # fmt: skip
async def test_a_report_by_a_pds_opens_a_case(desk: Desk, aud: str):
    answer = await desk.report(
        desk.by(desk.bob, aud), record(desk.track), reason="Not theirs", modTool={"name": "a client"}
    )
    assert answer.status == 200, answer.body
    ((id, *case),) = await desk.cases()
    assert case == [desk.track, desk.ann.did, "report", "open"]
    said = answer.json
    assert said.pop("createdAt").endswith("Z")
    assert said == {
        "id": id,
        "reasonType": f"{REASON}Spam",
        "reason": "Not theirs",
        "subject": record(desk.track),
        "reportedBy": desk.bob.did,
    }
    (event,) = await desk.events()
    assert event[:6] == (id, desk.track, desk.bob.did, "service", "spam", "Not theirs")
    assert event[6] == {
        "reasonType": f"{REASON}Spam",
        "tool": "a client",
        "cid": CID,
        "reportedCid": CID,
        "opened_by": "report",
    }


@pytest.mark.parametrize("kind", [Kind.TOKEN, Kind.BROWSER])
async def test_sessions_and_developer_tokens_report_too(desk: Desk, kind: Kind):
    key = await add_key(desk.world.dsn, Did(desk.bob.did), scope=SCOPE, granted=True, kind=kind)
    assert (await desk.report(key, repo(desk.ann.did))).status == 200
    ((_, subject, did, opened_by, _),) = await desk.cases()
    assert (subject, did, opened_by) == (desk.ann.did, desk.ann.did, "report")
    assert [(event[2], event[3]) for event in await desk.events()] == [(desk.bob.did, "session")]


async def test_the_same_subject_has_one_case_and_every_report_is_kept(desk: Desk):
    for who, reason, cid in ((desk.bob, "Spam", CID), (desk.ann, "Rude", OLD_CID), (desk.bob, "Spam", CID)):
        answer = await desk.report(desk.by(who), record(desk.track, cid), reasonType=REASON + reason)
        assert answer.status == 200, answer.body
    assert len(await desk.cases()) == 1
    events = await desk.events()
    assert [(event[2], event[4]) for event in events] == [
        (desk.bob.did, "spam"), (desk.ann.did, "rude"), (desk.bob.did, "spam"),
    ]  # fmt: skip
    # Which version was seen is told beside the one that is here.
    assert [(event[6]["cid"], event[6]["reportedCid"]) for event in events][1] == (CID, OLD_CID)


REFUSED: dict[str, tuple[Any, dict[str, Any], int, str]] = {
    "an account nobody knows": (lambda d: repo(d.bob.did), {}, 400, "RepoNotFound"),
    "a record that is not there": (lambda d: record(d.track[:-1] + "c"), {}, 400, "RecordNotFound"),
    "a record that was deleted": (lambda d: record(d.track[:-1] + "b"), {}, 400, "RecordNotFound"),
    "a record of nobody we know": (
        lambda d: record(f"at://{d.bob.did}/fm.plyr.track/3jzfcijpj2z2a"),
        {},
        400,
        "RecordNotFound",
    ),
    "a record of another app": (
        lambda d: record(f"at://{d.ann.did}/app.bsky.actor.profile/self"),
        {},
        400,
        "RecordNotFound",
    ),
    "a record under a handle": (
        lambda d: record("at://ann.test/fm.plyr.track/3jzfcijpj2z2a"),
        {},
        400,
        "InvalidRequest",
    ),
    "a whole collection": (lambda d: record(f"at://{d.ann.did}/fm.plyr.track"), {}, 400, "InvalidRequest"),
    "an account as a record": (lambda d: record(d.ann.did), {}, 400, "InvalidRequest"),
    "something else": (
        lambda d: {"$type": "chat.bsky.convo.defs#messageRef", "did": d.ann.did},
        {},
        400,
        "InvalidRequest",
    ),
    "no kind of subject": (lambda d: {"did": d.ann.did}, {}, 400, "InvalidRequest"),
    "no DID": (lambda d: repo("ann.test"), {}, 400, "InvalidRequest"),
    "no reason": (lambda d: repo(d.ann.did), {"reasonType": "spam"}, 400, "InvalidRequest"),
    "a reason like SQL": (
        lambda d: repo(d.ann.did),
        {"reasonType": f"{REASON}Spam'; --"},
        400,
        "InvalidRequest",
    ),
    "too many words": (lambda d: repo(d.ann.did), {"reason": "a" * 2001}, 400, "InvalidRequest"),
    "a NUL": (lambda d: repo(d.ann.did), {"reason": "a\0b"}, 400, "InvalidRequest"),
    "an appeal for somebody else": (
        lambda d: record(d.track),
        {"reasonType": f"{REASON}Appeal"},
        403,
        "AppealRefused",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_reported_is_refused_by_name(desk: Desk, case: str):
    subject, more, status, error = REFUSED[case]
    answer = await desk.report(desk.by(desk.bob), subject(desk), **more)
    assert (answer.status, answer.json["error"]) == (status, error), answer.body
    assert await desk.cases() == []
    assert await desk.events() == []


async def test_nobody_in_particular_reports_nothing(desk: Desk):
    answer = await desk.report(None, repo(desk.ann.did))
    assert (answer.status, answer.json["error"]) == (401, "AuthenticationRequired")
    for changes in ({"lxm": "fm.plyr.feed.getLatest"}, {"aud": f"{OURS}#bsky_fg"}):
        answer = await desk.report(desk.by(desk.bob, **changes), repo(desk.ann.did))
        assert answer.status == 401
    assert await desk.cases() == []


async def test_an_account_reports_so_often_an_hour(desk: Desk):
    for _ in range(MOST):
        assert (await desk.report(desk.by(desk.bob), repo(desk.ann.did))).status == 200
    answer = await desk.report(desk.by(desk.bob), repo(desk.ann.did))
    assert (answer.status, answer.json["error"]) == (429, "RateLimitExceeded")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await desk.report(desk.by(desk.ann), repo(desk.ann.did))).status == 200
    assert len(await desk.events()) == MOST + 1


async def test_the_owner_appeals_against_a_decision_alone(desk: Desk):
    gone = desk.track[:-1] + "b"  # a record that is not shown any more
    appeal = {"reasonType": f"{REASON}Appeal", "reason": "It is mine"}
    answer = await desk.report(desk.by(desk.ann), record(gone), **appeal)
    assert (answer.status, answer.json["error"]) == (403, "AppealRefused")
    await desk.world.execute(
        "insert into moderation_case (subject, did, opened_by, state, resolution, resolved_at)"
        " values (%s, %s, 'scan', 'resolved', 'violation', now())", gone, desk.ann.did,
    )  # fmt: skip
    answer = await desk.report(desk.by(desk.ann), record(gone), **appeal)
    assert answer.status == 200, answer.body
    assert [(case[1], case[3], case[4]) for case in await desk.cases()] == [
        (gone, "scan", "resolved"), (gone, "appeal", "open"),
    ]  # fmt: skip
