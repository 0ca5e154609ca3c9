"""`getRecordProof` and `getRepoState`: what proves a row, and how well a repo is known."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Json

from firehose.car import read_car, write_car
from tests.fakenet.referee import proven
from tests.fakenet.repo import FakeRepo
from tests.integration.appview.service import Answer, World

TRACK = "fm.plyr.track"
RKEY = "3jzfcijpj2z2a"


class Kept:
    """A repo of real commits, and what we keep of them."""

    def __init__(self, world: World, seed: int = 1) -> None:
        self.world = world
        self.repo = FakeRepo(seed=seed)
        self.conn = world.seed.conn
        row = self.conn.execute(
            "insert into repo (did, handle, pds) values (%s, %s, 'https://pds.test') returning id",
            (self.repo.did, self.repo.handle),
        ).fetchone()
        assert row is not None
        self.id: int = row[0]
        self.conn.execute(
            "insert into profile (repo_id, card, search) values (%s, '', ''::tsvector)", (self.id,)
        )
        self.conn.commit()

    def write(
        self,
        rkey: str = RKEY,
        number: int = 1,
        *,
        action: str = "create",
        proof: bool = True,
        verified: bool = True,
    ) -> str:
        record = {"$type": TRACK, "number": number}
        body = self.repo.write([(action, TRACK, rkey, record)])
        cid = dict(self.repo.listing())[f"{TRACK}/{rkey}"]
        self.conn.execute(
            "insert into record (repo_id, collection, rkey, rev, cid, block, verified)"
            " values (%s, %s, %s, %s, 'bafy', %s, %s) on conflict (repo_id, collection, rkey)"
            " do update set rev = excluded.rev, block = excluded.block",
            (self.id, TRACK, rkey, self.repo.rev, self.repo.blocks[cid], verified),
        )
        if proof:
            self.keep(body["blocks"])
        self.conn.commit()
        return f"at://{self.repo.did}/{TRACK}/{rkey}"

    def keep(self, car: bytes) -> None:
        self.conn.execute(
            "insert into commit_proof (repo_id, rev, car) values (%s, %s, %s)", (self.id, self.repo.rev, car)
        )
        self.conn.commit()

    async def proof(self, uri: str) -> Answer:
        return await self.world.server.request(
            "GET", "/xrpc/fm.plyr.sync.getRecordProof", params={"uri": uri}
        )

    def state(self, statement: Any, *params: Any) -> None:
        self.conn.execute(statement, (*params, self.id))
        self.conn.commit()


@pytest.fixture
def kept(world: World) -> Kept:
    return Kept(world)


async def test_a_record_is_proven_to_an_implementation_that_is_not_ours(kept: Kept):
    for number in range(40):
        kept.write(f"3jzfcijpj{number:04}".translate(str.maketrans("0189", "abcd")), number)
    uri = kept.write(number=41)
    for address in (uri, uri.replace(kept.repo.did, kept.repo.handle.upper())):
        answer = await kept.proof(address)
        assert answer.status == 200, answer.body
        assert answer.headers["Content-Type"] == "application/vnd.ipld.car"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        rev, record = proven(answer.body, kept.repo.did, f"{TRACK}/{RKEY}", kept.repo.key.did_key)
        assert (rev, record["number"]) == (kept.repo.rev, 41)


async def test_a_record_is_proven_by_the_commit_that_wrote_it_whatever_came_later(kept: Kept):
    uri = kept.write(number=1)
    rev = kept.repo.rev
    for number in range(5):
        kept.write(f"3jzfcijpj2z2{'bcdef'[number]}", number, proof=False)
    answer = await kept.proof(uri)
    assert proven(answer.body, kept.repo.did, f"{TRACK}/{RKEY}", kept.repo.key.did_key)[0] == rev
    kept.write(number=2, action="update")
    answer = await kept.proof(uri)
    assert proven(answer.body, kept.repo.did, f"{TRACK}/{RKEY}", kept.repo.key.did_key)[1]["number"] == 2


async def test_the_tree_of_a_whole_read_proves_each_record_written_by_then(kept: Kept):
    kept.write("3jzfcijpj2z2b", proof=False)
    uri = kept.write(proof=False)
    car = read_car(kept.repo.car())
    without_records = {cid: block for cid, block in car.blocks.items() if b"number" not in block}
    assert len(without_records) < len(car.blocks)
    kept.keep(write_car(car.roots[0], without_records))
    answer = await kept.proof(uri)
    proven(answer.body, kept.repo.did, f"{TRACK}/{RKEY}", kept.repo.key.did_key)


@pytest.mark.parametrize("trouble", ["unverified", "not kept", "not on the way", "damaged"])
async def test_without_a_proof_there_is_an_error(kept: Kept, trouble: str):
    if trouble == "unverified":
        uri = kept.write(verified=False)
    elif trouble == "not kept":
        uri = kept.write(proof=False)
    else:
        uri = kept.write(proof=False)
        car = FakeRepo(seed=2).write([("create", TRACK, RKEY, {"number": 1})])["blocks"]
        kept.keep(car if trouble == "not on the way" else car[:-3])
    answer = await kept.proof(uri)
    assert (answer.status, answer.json["error"]) == (400, "ProofNotFound")
    assert "https://pds.test has com.atproto.sync.getRecord" in answer.json["message"]


async def test_x21_what_cannot_be_shown_has_no_proof(kept: Kept):
    uri = kept.write()
    for other in (uri[:-1] + "b", uri.rpartition("/")[0], uri.replace(kept.repo.did, "nobody.test")):
        answer = await kept.proof(other)
        assert (answer.status, answer.json["error"]) == (400, "RecordNotFound")
    kept.state("update profile set hidden = true where repo_id = %s")
    answer = await kept.proof(uri)
    assert (answer.status, answer.json["error"]) == (400, "RecordNotFound")
    kept.state("update profile set hidden = false where repo_id = %s")
    assert (await kept.proof(uri)).status == 200
    kept.state("update record set cid = null, block = null where repo_id = %s")
    answer = await kept.proof(uri)
    assert (answer.status, answer.json["error"]) == (400, "RecordNotFound")


async def test_a_repo_tells_what_is_missing_and_what_happens_next(kept: Kept):
    kept.write()
    kept.write("3jzfcijpj2z2b", verified=False)
    gaps = [{"after": kept.repo.rev, "after_data": "x", "until": None, "until_data": None}]
    kept.state(
        "update repo set state = 'error', rev = %s, gaps = %s, resync_tries = 3, resync_error = 'no answer',"
        " resync_due = '2026-09-01T12:00:00.5Z', identity_due = null where id = %s",
        kept.repo.rev, Json(gaps),
    )  # fmt: skip
    for number in range(3):
        kept.conn.execute(
            "insert into decision (did, kind, outcome, reason, source, seq)"
            " values (%s, 'state', 'error', %s, 'https://pds.test', 7)",
            (kept.repo.did, f"reason {number}"),
        )
    kept.conn.execute(
        "insert into rejected_event (source, digest, did, reason, detail, raw)"
        " values ('wss://relay.test', 'x', %s, 'bad_car', 'cut', 'x')",
        (kept.repo.did,),
    )
    kept.conn.commit()
    answer = await kept.world.server.ask("sync.getRepoState", {"actor": kept.repo.handle, "limit": 2})
    assert answer["did"] == kept.repo.did
    assert (answer["state"], answer["active"], answer.get("status")) == ("error", True, None)
    assert answer["gaps"] == [{"after": kept.repo.rev}]
    assert answer["records"] == [{"collection": TRACK, "count": 2, "unverified": 1}]
    assert answer["resync"] == {"dueAt": "2026-09-01T12:00:00.500Z", "tries": 3, "error": "no answer"}
    assert "dueAt" not in answer["identity"]
    assert answer["rejected"] == 1
    assert [decision["reason"] for decision in answer["decisions"]] == ["reason 2", "reason 1"]
    assert answer["decisions"][0]["seq"] == 7


async def test_a_hidden_account_is_told_that_it_is_but_not_our_own_reasons(kept: Kept):
    kept.conn.execute(
        "insert into decision (did, kind, outcome, reason) values (%s, 'takedown', 'down', 'secret')",
        (kept.repo.did,),
    )
    kept.state("update repo set active = false, status = 'deactivated' where id = %s")
    answer = await kept.world.server.ask("sync.getRepoState", {"actor": kept.repo.did})
    assert (answer["active"], answer["status"]) == (False, "deactivated")
    kept.state("update repo set taken_down = 'secret' where id = %s")
    answer = await kept.world.server.ask("sync.getRepoState", {"actor": kept.repo.did})
    assert (answer["active"], answer["status"]) == (False, "takendown")
    assert "secret" not in str(answer)


async def test_an_account_that_nobody_told_us_of_is_not_found(world: World):
    assert await world.server.refused("sync.getRepoState", {"actor": "did:plc:nobody"}) == (
        400,
        "RepoNotFound",
    )
