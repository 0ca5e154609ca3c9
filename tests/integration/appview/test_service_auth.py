"""Tokens of other services: each that is not as it must be is refused by name, and costs nobody anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from appview.app import make_reader, make_writer
from appview.auth.proviso import Proviso
from appview.auth.service_jwt import MAX_BYTES, MAX_LIFE_S, SKEW_S
from appview.auth.service_tokens import spent_first
from appview.clients import Clients
from appview.errors import BadJwt
from appview.guards import GuardConfig
from appview.limits import Limit
from lexicons.catalog import Catalog
from lexicons.syntax import Did, Rev
from storage import used_tokens
from storage.reader import BadValue
from tests.fakenet.http import json_page
from tests.fakenet.repo import FakeRepo
from tests.fakenet.server import Fault
from tests.fakenet.tokens import b64, token
from tests.integration.appview.seed import Seed
from tests.integration.appview.service import Server
from tests.integration.appview.signed import ALSO_OURS, LATEST, OURS, World, ask, good, made


@pytest.fixture
async def world(database: str, catalog: Catalog) -> AsyncIterator[World]:
    async with made(database, catalog) as world:
        yield world


@dataclass
class Shared:
    """One world for the tests that change nothing in it: Ann is known here, Bob to the directory alone."""

    world: World
    server: Server
    ann: FakeRepo
    ann_p256: FakeRepo
    bob: FakeRepo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_world(shared_database: str, catalog: Catalog) -> AsyncIterator[Shared]:
    async with made(shared_database, catalog) as world, world.server() as server:
        ann, bob = world.known("ann"), world.stranger("bob")
        world.plc.publish(ann, "https://pds.test")
        yield Shared(world, server, ann, world.known("ann p256", curve="p256"), bob)


def now() -> int:
    return int(time.time())


def resigned(text: str, **changes: Any) -> str:
    """The token with a segment changed after it was signed."""
    segments = dict(zip(("header", "payload", "signature"), text.split("."), strict=True))
    return ".".join((segments | changes).values())


OTHER = FakeRepo(seed="other")

REFUSED = {
    "one segment": (lambda ann: "a.b", "BadJwt"),
    "four segments": (lambda ann: good(ann) + ".x", "BadJwt"),
    "a header that is no JSON": (lambda ann: resigned(good(ann), header=b64(b"{alg")), "BadJwt"),
    "a header that is no object": (lambda ann: resigned(good(ann), header=b64(b"[1]")), "BadJwt"),
    "a payload that is no object": (lambda ann: resigned(good(ann), payload=b64(b'"x"')), "BadJwt"),
    "a payload that is no base64url": (lambda ann: resigned(good(ann), payload="a+b/"), "BadJwt"),
    "a payload of impossible length": (lambda ann: resigned(good(ann), payload="abcde"), "BadJwt"),
    "a payload of broken UTF-8": (lambda ann: resigned(good(ann), payload=b64(b'{"iss":"\xff"}')), "BadJwt"),
    "a huge token": (lambda ann: good(ann, padding="x" * MAX_BYTES), "BadJwt"),
    "no alg": (lambda ann: good(ann, header={"alg": None}), "BadJwt"),
    "alg no text": (lambda ann: good(ann, header={"alg": 5}), "BadJwt"),
    "a critical extension": (lambda ann: good(ann, header={"crit": ["b64"], "b64": False}), "BadJwt"),
    "alg none": (lambda ann: good(ann, header={"alg": "none"}), "BadJwtSignature"),
    "alg none and no signature": (
        lambda ann: resigned(good(ann, header={"alg": "none"}), signature=""),
        "BadJwtSignature",
    ),
    "alg HS256": (lambda ann: good(ann, header={"alg": "HS256"}), "BadJwtSignature"),
    "alg of another curve": (lambda ann: good(ann, header={"alg": "ES256"}), "BadJwtSignature"),
    "no signature": (lambda ann: resigned(good(ann), signature=""), "BadJwtSignature"),
    "a short signature": (lambda ann: good(ann)[:-8], "BadJwtSignature"),
    "a padded signature": (lambda ann: good(ann) + "==", "BadJwt"),
    "signs between a signature's characters": (
        lambda ann: good(ann).translate({ord("."): ".!!!!"}),
        "BadJwt",
    ),
    "a signature of zeros": (lambda ann: resigned(good(ann), signature=b64(bytes(64))), "BadJwtSignature"),
    "a signature of ones": (
        lambda ann: resigned(good(ann), signature=b64(b"\xff" * 64)),
        "BadJwtSignature",
    ),
    "signed by another": (lambda ann: token(OTHER.key, iss=ann.did, aud=OURS, lxm=LATEST), "BadJwtSignature"),
    "another payload than was signed": (
        lambda ann: resigned(good(ann), payload=good(ann).split(".")[1]),
        "BadJwtSignature",
    ),
    "typ at+jwt": (lambda ann: good(ann, header={"typ": "at+jwt"}), "BadJwtType"),
    "typ refresh+jwt": (lambda ann: good(ann, header={"typ": "refresh+jwt"}), "BadJwtType"),
    "typ dpop+jwt": (lambda ann: good(ann, header={"typ": "dpop+jwt"}), "BadJwtType"),
    "typ AT+JWT": (lambda ann: good(ann, header={"typ": "AT+JWT"}), "BadJwtType"),
    "typ no text": (lambda ann: good(ann, header={"typ": 1}), "BadJwtType"),
    "no exp": (lambda ann: good(ann, exp=None), "BadJwt"),
    "exp no number": (lambda ann: good(ann, exp=str(now() + 60)), "BadJwt"),
    "exp true": (lambda ann: good(ann, exp=True), "BadJwt"),
    "expired": (lambda ann: good(ann, exp=now() - 1), "JwtExpired"),
    "exp too far": (lambda ann: good(ann, exp=now() + MAX_LIFE_S + SKEW_S + 60), "BadJwt"),
    "exp beyond all times": (lambda ann: good(ann, exp=1e300), "BadJwt"),
    "iat in the future": (lambda ann: good(ann, iat=now() + SKEW_S + 60), "BadJwt"),
    "iat no number": (lambda ann: good(ann, iat="now"), "BadJwt"),
    "no aud": (lambda ann: good(ann, aud=None), "BadJwtAudience"),
    "aud of another service": (lambda ann: good(ann, aud="did:web:other.test"), "BadJwtAudience"),
    "aud of another service with our part": (
        lambda ann: good(ann, aud="did:web:other.test#plyr_appview"),
        "BadJwtAudience",
    ),
    "aud of a part that we don't have": (lambda ann: good(ann, aud=f"{OURS}#atproto_pds"), "BadJwtAudience"),
    "aud with an empty fragment": (lambda ann: good(ann, aud=f"{OURS}#"), "BadJwtAudience"),
    "aud with our labeler, for no method of labelers": (
        lambda ann: good(ann, aud=f"{OURS}#atproto_labeler"),
        "BadJwtAudience",
    ),
    "aud with two fragments": (lambda ann: good(ann, aud=f"{OURS}#plyr_appview#x"), "BadJwtAudience"),
    "aud a list": (lambda ann: good(ann, aud=[OURS]), "BadJwtAudience"),
    "aud the start of ours": (lambda ann: good(ann, aud="did:web:plyr"), "BadJwtAudience"),
    "wrong lxm": (lambda ann: good(ann, lxm="fm.plyr.feed.getTop"), "BadJwtLexiconMethod"),
    "no lxm": (lambda ann: good(ann, lxm=None), "BadJwtLexiconMethod"),
    "lxm of all methods": (lambda ann: good(ann, lxm="*"), "BadJwtLexiconMethod"),
    "no jti": (lambda ann: good(ann, jti=None), "BadJwt"),
    "an empty jti": (lambda ann: good(ann, jti=""), "BadJwt"),
    "jti no text": (lambda ann: good(ann, jti=7), "BadJwt"),
    "jti with NUL": (lambda ann: good(ann, jti="a\0b"), "BadJwt"),
    "a long jti": (lambda ann: good(ann, jti="x" * 129), "BadJwt"),
    "no iss": (lambda ann: good(ann, iss=None), "BadJwtIss"),
    "iss no DID": (lambda ann: good(ann, iss="ann.test"), "BadJwtIss"),
    "iss with a newline": (lambda ann: good(ann, iss=ann.did + "\n"), "BadJwtIss"),
    "iss a service of the account": (lambda ann: good(ann, iss=f"{ann.did}#atproto_labeler"), "BadJwtIss"),
    "iss of another method": (lambda ann: good(ann, iss="did:key:z6Mk"), "BadJwtIss"),
    "iss unknown to the directory": (lambda ann: good(OTHER), "BadJwtIss"),
    "did:web with a user": (lambda ann: good(ann, iss="did:web:x%40169.254.169.254"), "BadJwtIss"),
    "did:web of an address": (lambda ann: good(ann, iss="did:web:169.254.169.254"), "BadJwtIss"),
    "did:web of a decimal address": (lambda ann: good(ann, iss="did:web:2852039166"), "BadJwtIss"),
    "did:web of a hex address": (lambda ann: good(ann, iss="did:web:0xa9fea9fe"), "BadJwtIss"),
    "did:web of an octal address": (lambda ann: good(ann, iss="did:web:0251.0376.0251.0376"), "BadJwtIss"),
    "did:web of IPv6": (lambda ann: good(ann, iss="did:web:%5B::1%5D"), "BadJwtIss"),
    "did:web of mapped IPv6": (lambda ann: good(ann, iss="did:web:[::ffff:169.254.169.254]"), "BadJwtIss"),
    "did:web with a dot at the end": (
        lambda ann: good(ann, iss="did:web:inside.plyr-test.dev."),
        "BadJwtIss",
    ),
    "did:web with a port": (lambda ann: good(ann, iss="did:web:inside.plyr-test.dev%3A22"), "BadJwtIss"),
    "did:web with a path": (lambda ann: good(ann, iss="did:web:inside.plyr-test.dev:user"), "BadJwtIss"),
    "did:web with a query": (lambda ann: good(ann, iss="did:web:inside.plyr-test.dev%3Fx"), "BadJwtIss"),
    "did:web inside": (lambda ann: good(ann, iss="did:web:db.internal"), "BadJwtIss"),
    "did:web of a private address": (lambda ann: good(ann, iss="did:web:private.plyr-test.dev"), "BadJwtIss"),
    "did:web of nobody": (lambda ann: good(ann, iss="did:web:nobody.plyr-test.dev"), "UpstreamFailure"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.asyncio(loop_scope="module")
async def test_t32_t34_a_token_that_is_not_as_it_must_be_is_refused_by_name(shared_world: Shared, case: str):
    made_by, name = REFUSED[case]
    world = shared_world.world
    world.web.names.table["private.plyr-test.dev"] = [("10.0.0.1", None)]
    asked = len(world.web.requests)
    answer = await ask(shared_world.server, made_by(shared_world.ann))
    assert answer.json["error"] == name, answer.body
    assert set(answer.json) == {"error", "message"}
    assert len(world.web.requests) == asked  # nobody's door was knocked on
    if name == "UpstreamFailure":
        assert answer.status == 502
        assert int(answer.headers["Retry-After"]) > 0
    else:
        assert answer.status == 401
        challenge = f'Bearer error="invalid_token", error_description="{name}"'
        assert answer.headers["WWW-Authenticate"] == challenge


# Times are from now on.
ACCEPTED: dict[str, dict[str, Any]] = {
    "bare aud": {},
    "aud with our service": {"aud": f"{OURS}#plyr_appview"},
    "aud our other name": {"aud": ALSO_OURS},
    "aud our other name with our service": {"aud": f"{ALSO_OURS}#plyr_appview"},
    "no typ": {"header": {"typ": None}},
    "typ jwt": {"header": {"typ": "jwt"}},
    "no iat": {"iat": None},
    "iat of a clock that is a little ahead": {"iat": SKEW_S - 5},
    "as long as a PDS may": {"exp": MAX_LIFE_S},
    "exp a fraction": {"exp": 60.5},
    "claims that we don't know": {"nonce": "x", "sub": "y"},
    "high-S": {"high_s": True},  # unlike a commit's signature (T39): the network's own libraries take it
}


@pytest.mark.parametrize("case", ACCEPTED)
@pytest.mark.parametrize("who", ["ann", "ann_p256", "bob"])
@pytest.mark.asyncio(loop_scope="module")
async def test_t33_a_token_that_is_as_it_must_be_is_taken(shared_world: Shared, who: str, case: str):
    repo: FakeRepo = getattr(shared_world, who)
    changes = {
        name: now() + value if name in ("iat", "exp") and value is not None else value
        for name, value in ACCEPTED[case].items()
    }
    answer = await ask(shared_world.server, good(repo, **changes))
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "private"


async def test_a_token_shows_its_issuers_own_like(database: str, catalog: Catalog):
    seed = Seed(database, catalog)
    async with made(database, catalog) as world, world.server() as server:
        fan = FakeRepo(did=seed.dids[seed.account("fan")], seed="fan")
        artist = seed.account("artist")
        like = seed.like(1, seed.track(artist, "Night ferry"))
        seed.conn.execute("update repo set signing_key = %s where did = %s", (fan.key.did_key, fan.did))
        seed.commit()
        seed.close()
        assert (await ask(server, good(fan))).json["tracks"][0]["viewer"] == {"like": like}
        anonymous = await server.request("GET", f"/xrpc/{LATEST}")
        assert "viewer" not in anonymous.json["tracks"][0]
        assert "Cache-Control" not in anonymous.headers
        stranger = world.stranger("stranger")
        assert (await ask(server, good(stranger))).json["tracks"][0]["viewer"] == {}


async def test_a_token_is_good_once_in_whichever_process(world: World):
    ann = world.known("ann")
    async with world.server() as one, world.server() as other:
        text = good(ann)
        answers = await asyncio.gather(*(ask(server, text) for server in (one, other) * 10))
        assert sorted(answer.status for answer in answers) == [200, *[401] * 19]
        refused = [answer.json for answer in answers if answer.status == 401]
        assert {(each["error"], each["message"]) for each in refused} == {
            ("BadJwt", "The token was used before.")
        }


@pytest.mark.parametrize("method", [LATEST, "fm.plyr.feed.getTracks", "fm.plyr.server.getStats"])
async def test_a_token_that_was_used_elsewhere_opens_nothing(world: World, method: str):
    """Whether the answer takes a question to the database or none."""
    ann = world.known("ann")
    await world.execute("insert into used_token values (%s, 'one', now() + interval '1 minute')", ann.did)
    path = f"{method}?uris=at://{ann.did}/fm.plyr.track/3jzfcijpj2z2a" if "Tracks" in method else method
    async with world.server() as server:
        answer = await ask(server, good(ann, lxm=method, jti="one"), path)
        assert (answer.status, answer.json["message"]) == (401, "The token was used before.")
        assert (await ask(server, good(ann, lxm=method, jti="two"), path)).status == 200
    assert await used(world) == ["one", "two"]


async def used(world: World) -> list[str]:
    async with await psycopg.AsyncConnection.connect(world.dsn) as conn:
        return [
            jti for (jti,) in await (await conn.execute("select jti from used_token order by 1")).fetchall()
        ]


async def test_of_questions_at_once_one_takes_the_token_along(world: World):
    ann = world.known("ann")
    async with make_reader(world.dsn, connections=2) as reads, make_writer(world.dsn) as writes:

        def unspent(jti: str) -> Proviso[Rev | None]:
            spending = used_tokens.spending(Did(ann.did), jti, time.time() + 60)
            return Proviso(reads, writes, spending, spent_first)

        one = unspent("one")
        asked = [one.fetch("people_key", ann.did.encode()) for _ in range(10)]
        assert [rows.cell(0, 0) for rows in await asyncio.gather(*asked)] == [ann.key.did_key.encode()] * 10
        assert await one.settle() is None
        with pytest.raises(BadJwt):
            await unspent("one").fetch("people_key", ann.did.encode())
        failed = unspent("two")
        with pytest.raises(BadValue):
            await failed.fetch("feed_by_id", None, b"no number")
        assert await used(world) == ["one"]  # nobody saw an answer
        await failed.settle()
        assert await used(world) == ["one", "two"]
        early = unspent("three")
        await early.settle()
        assert (await early.fetch("people_key", ann.did.encode())).cell(0, 0) == ann.key.did_key.encode()


async def test_whoever_repeats_a_token_is_counted_by_their_own_address(world: World):
    ann = world.known("ann")
    guards = GuardConfig(clients=Clients([ip_network("127.0.0.1")]), limit=Limit(3, 60))
    async with world.server(guards=guards) as server:
        text = good(ann)
        assert (await ask(server, text, **{"X-Forwarded-For": "198.51.100.1"})).status == 200
        repeated = [await ask(server, text, **{"X-Forwarded-For": "198.51.100.2"}) for _ in range(5)]
        assert [answer.status for answer in repeated] == [401, 401, 401, 429, 429]
        assert (await ask(server, good(ann), **{"X-Forwarded-For": "198.51.100.1"})).status == 200


async def test_a_jti_is_one_issuers_own_and_others_at_the_same_moment_are_taken(world: World):
    accounts = [world.known(f"ann {number}") for number in range(20)]
    async with world.server() as server:
        answers = await asyncio.gather(*(ask(server, good(repo, jti="the same")) for repo in accounts))
        assert {answer.status for answer in answers} == {200}


async def test_used_ids_are_forgotten_when_their_tokens_have_expired(world: World):
    ann = world.known("ann")
    with psycopg.connect(world.dsn) as conn:
        conn.execute(
            "insert into used_token select 'did:web:x', n::text, now() - interval '2 minutes'"
            " from generate_series(1, 6000) n"
        )
    async with world.server(service={"sweep_every_s": 0}) as server:
        for left in (1001, 2, 3):
            assert (await ask(server, good(ann))).status == 200
            with psycopg.connect(world.dsn) as conn:
                (count,) = conn.execute("select count(*) from used_token").fetchone() or (None,)
            assert count == left


async def test_a_refused_token_uses_up_no_id(world: World):
    ann = world.known("ann")
    async with world.server() as server:
        forged = token(OTHER.key, iss=ann.did, aud=OURS, lxm=LATEST, jti="one")
        world.plc.publish(ann, "https://pds.test")
        assert (await ask(server, forged)).json["error"] == "BadJwtSignature"
        assert (await ask(server, good(ann, jti="one"))).status == 200


async def test_a_token_for_one_method_opens_no_other(world: World):
    ann = world.known("ann")
    async with world.server() as server:
        answer = await ask(server, good(ann), "fm.plyr.feed.getTop")
        assert answer.json["error"] == "BadJwtLexiconMethod"
        assert (await ask(server, good(ann, lxm="fm.plyr.feed.getNew"), "fm.plyr.feed.getNew")).status == 501


async def test_a_known_accounts_key_is_asked_of_nobody(world: World):
    ann = world.known("ann")
    async with world.server() as server:
        assert (await ask(server, good(ann))).status == 200
        assert not world.plc.asked


async def test_after_a_bad_signature_the_key_is_looked_up_anew_once(world: World):
    """Ann has a new key and nobody has told us yet."""
    ann = world.known("ann")
    ann.rotate_key("new", "p256")
    world.plc.publish(ann, "https://pds.test")
    async with world.server() as server:
        for _ in range(3):
            assert (await ask(server, good(ann))).status == 200
        assert world.plc.asked.total() == 1
        forged = token(OTHER.key, iss=ann.did, aud=OURS, lxm=LATEST)
        for _ in range(5):
            assert (await ask(server, forged)).json["error"] == "BadJwtSignature"
        assert world.plc.asked.total() == 1  # a moment ago is not asked again, whoever comes


async def test_a_key_that_was_given_up_is_good_for_a_minute_at_most(world: World):
    ann, clock = world.known("ann"), [time.time()]
    old = ann.frozen()
    async with world.server(now=lambda: clock[0]) as server:
        assert (await ask(server, good(old))).status == 200
        ann.rotate_key("new")
        world.plc.publish(ann, "https://pds.test")
        with psycopg.connect(world.dsn) as conn:
            conn.execute("update repo set signing_key = %s", (ann.key.did_key,))
        clock[0] += 61
        assert (await ask(server, good(old, exp=now() + 120))).json["error"] == "BadJwtSignature"
        assert (await ask(server, good(ann, exp=now() + 120))).status == 200


async def test_what_the_directory_refused_is_not_asked_again(world: World):
    async with world.server() as server:
        for _ in range(5):
            assert (await ask(server, good(OTHER))).json["error"] == "BadJwtIss"
        assert world.plc.asked.total() == 1


async def test_strangers_of_one_client_are_looked_up_only_so_often(world: World):
    """A flood of issuers that don't exist makes us ask three times, and no more."""
    async with world.server(service={"lookups": Limit(3, 60)}) as server:
        answers = [await ask(server, good(FakeRepo(seed=f"nobody {number}"))) for number in range(6)]
        names = [answer.json["error"] for answer in answers]
        assert names == [*["BadJwtIss"] * 3, *["RateLimitExceeded"] * 3]
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
        assert world.plc.asked.total() == 3
        known = world.known("ann")
        assert (await ask(server, good(known))).status == 200


async def test_a_directory_that_does_not_answer_is_its_fault_not_the_tokens(world: World):
    bob = world.stranger("bob")
    world.plc.fail(Fault.UNAVAILABLE, f"/{bob.did}")
    async with world.server() as server:
        answer = await ask(server, good(bob))
        assert (answer.status, answer.json["error"]) == (502, "UpstreamFailure")
    assert sum(world.plc.fired.values()) == 1


async def test_an_account_of_a_host_signs_in_by_its_document(world: World):
    eve = FakeRepo(did="did:web:eve.plyr-test.dev", seed="eve")
    origin = world.web.host("eve.plyr-test.dev")
    world.web.pages[f"{origin}/.well-known/did.json"] = json_page(eve.did_doc("https://pds.test"))
    async with world.server() as server:
        assert (await ask(server, good(eve))).status == 200
        assert world.web.requests == [f"{origin}/.well-known/did.json"]  # and no handle was looked up


async def test_without_a_database_nobody_can_tell_whether_a_token_was_used(world: World):
    ann = world.known("ann")
    async with world.server() as server:
        assert (await ask(server, good(ann))).status == 200
        with psycopg.connect(world.dsn, autocommit=True) as conn:
            conn.execute("alter table used_token rename to gone")
            answer = await ask(server, good(ann))
            conn.execute("alter table gone rename to used_token")
        assert answer.status >= 500
        assert (await ask(server, good(ann))).status == 200
