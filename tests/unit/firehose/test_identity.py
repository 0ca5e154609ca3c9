"""DID documents, handles both ways, and the cache between them and us."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import zstandard

from firehose.did_document import WrongDocument, document_url, read_claims
from firehose.dns import Dns
from firehose.identity import (
    IdentityInvalid,
    IdentityNotFound,
    IdentityResolver,
    IdentityTombstoned,
    IdentityUnreachable,
)
from firehose.net import GuardedClient
from lexicons.syntax import Did
from tests.fakenet.dns import FakeDns
from tests.fakenet.http import FakeWeb, Page, json_page
from tests.fakenet.repo import SigningKey, fake_did
from tests.fakenet.tls import Authority

ALICE = Did(fake_did("alice"))
BOB = Did(fake_did("bob"))
HANDLE = "alice.plyr-test.dev"
KEY = SigningKey("alice")


def document(did: str = ALICE, handle: str | None = HANDLE, **changes: Any) -> dict[str, Any]:
    return {
        "id": did,
        "alsoKnownAs": [f"at://{handle}"] if handle else [],
        "verificationMethod": [
            {
                "id": f"{did}#atproto",
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": KEY.multibase,
            }
        ],
        "service": [
            {
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": "https://pds.plyr-test.dev",
            }
        ],
    } | changes


@dataclass
class World:
    """A PLC directory, hosts and name servers, with a clock that stands still until it is moved."""

    web: FakeWeb
    dns: FakeDns
    client: GuardedClient
    clock: list[float] = field(default_factory=lambda: [1000.0])

    def resolver(self, **settings: Any) -> IdentityResolver:
        return IdentityResolver(
            self.client,
            f"{self.web.origin}/plc",
            dns=Dns(self.dns.resolver(), lifetime_s=0.2),
            now=lambda: self.clock[0],
            **settings,
        )

    def put(self, doc: dict[str, Any]) -> None:
        self.plc(doc["id"], json_page(doc))

    def plc(self, did: str, page: Page) -> None:
        self.web.pages[f"{self.web.origin}/plc/{did}"] = page

    def well_known(self, handle: str, page: Page) -> None:
        self.web.pages[f"{self.web.host(handle)}/.well-known/atproto-did"] = page


@pytest.fixture
async def world(authority: Authority) -> AsyncIterator[World]:
    async with (
        FakeWeb(authority) as web,
        FakeDns() as dns,
        GuardedClient(True, resolver=web.names, ssl_context=authority.client_context) as client,
    ):
        yield World(web, dns, client)


# -- documents


def test_real_documents_are_read_whole(shared: Path) -> None:
    path = shared / "data/relay-2026-07-04/did_docs.json.zst"
    with path.open("rb") as file:
        docs: dict[Did, Any] = json.loads(zstandard.ZstdDecompressor().stream_reader(file).read())
    assert len(docs) == 148
    for did, doc in docs.items():
        claims = read_claims(did, doc, development=False)
        method, service = doc["verificationMethod"][0], doc["service"][0]
        assert claims.signing_key == f"did:key:{method['publicKeyMultibase']}"
        assert claims.pds == service["serviceEndpoint"]
        assert claims.handle == doc["alsoKnownAs"][0].removeprefix("at://").lower()


@pytest.mark.parametrize("body", [None, [], "x", {}, {"id": BOB}, {"id": None}, {"id": [ALICE]}])
def test_document_about_something_else_is_refused(body: object) -> None:
    with pytest.raises(WrongDocument):
        read_claims(ALICE, body, development=False)


@pytest.mark.parametrize(
    "junk",
    [
        {"alsoKnownAs": None, "verificationMethod": {}, "service": 7},
        {"alsoKnownAs": [1, None], "verificationMethod": ["x", None], "service": [[], "y"]},
        {"verificationMethod": [{"id": 1, "type": [], "controller": {}, "publicKeyMultibase": 3}]},
        {"service": [{"id": [], "type": {}, "serviceEndpoint": None}]},
        {"service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": {}}]},
    ],
)
def test_malformed_entries_are_passed_over(junk: dict[str, Any]) -> None:
    claims = read_claims(ALICE, {"id": ALICE} | junk, development=False)
    assert (claims.handle, claims.pds, claims.signing_key) == (None, None, None)


def method(**changes: Any) -> dict[str, Any]:
    return document()["verificationMethod"][0] | changes


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ([method()], KEY.did_key),
        ([method(id="#atproto")], KEY.did_key),
        ([method(id=f"{BOB}#atproto")], None),
        ([method(id="#atproto_label")], None),
        ([method(controller=BOB)], None),
        ([method(type="Ed25519VerificationKey2020")], None),
        ([method(publicKeyMultibase="z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")], None),  # ed25519
        ([method(publicKeyMultibase="zQ3sh0OIl")], None),
        ([method(publicKeyMultibase="")], None),
        ([method(publicKeyMultibase=None)], None),
        (
            [method(id="#other"), method(controller=BOB), method(), method(publicKeyMultibase="z")],
            KEY.did_key,
        ),
        ([method(publicKeyMultibase=SigningKey("p", "p256").multibase)], SigningKey("p", "p256").did_key),
    ],
)
def test_signing_key_is_the_first_valid_atproto_method(methods: list[Any], expected: str | None) -> None:
    claims = read_claims(ALICE, document(verificationMethod=methods), development=False)
    assert claims.signing_key == expected


@pytest.mark.parametrize(
    ("kind", "multibase", "expected"),
    [
        # The same key as Multikey, as the reference implementations convert it.
        (
            "EcdsaSecp256k1VerificationKey2019",
            "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR",
            "did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF",
        ),
        ("EcdsaSecp256k1VerificationKey2019", "zQYEBzXeuTM9UR3rfvNag6L3RNAs5", None),
        ("EcdsaSecp256k1VerificationKey2019", "QYEBzXeuTM9", None),
        ("EcdsaSecp256k1VerificationKey2019", "z0OIl", None),
        ("EcdsaSecp256k1VerificationKey2018", KEY.multibase, None),
    ],
)
def test_legacy_key_is_converted(kind: str, multibase: str, expected: str | None) -> None:
    methods = [method(id="#atproto", type=kind, publicKeyMultibase=multibase)]
    assert read_claims(ALICE, document(verificationMethod=methods), development=False).signing_key == expected


@pytest.mark.parametrize(
    ("endpoint", "production", "development"),
    [
        ("https://pds.plyr-test.dev", "https://pds.plyr-test.dev", "https://pds.plyr-test.dev"),
        ("https://PDS.plyr-test.dev/", "https://pds.plyr-test.dev", "https://pds.plyr-test.dev"),
        (
            "https://pds.plyr-test.dev:8443",
            "https://pds.plyr-test.dev:8443",
            "https://pds.plyr-test.dev:8443",
        ),
        ("http://localhost:2583", None, "http://localhost:2583"),
        ("http://127.0.0.1:2583", None, "http://127.0.0.1:2583"),
        ("http://pds.plyr-test.dev", None, None),
        ("https://pds.plyr-test.dev/path", None, None),
        ("https://user@pds.plyr-test.dev", None, None),
        ("https://pds.plyr-test.dev?x", None, None),
        ("https://pds.plyr-test.dev#x", None, None),
        ("https://pds.plyr-test.dev:0", None, None),
        ("https://pds.plyr-test.dev:70000", None, None),
        ("https://10.0.0.1", None, None),
        ("https://pds", None, None),
        ("https://pds.plyr-test.dev\n", None, None),
        ("wss://pds.plyr-test.dev", None, None),
        ("", None, None),
    ],
)
def test_pds_is_an_https_origin(endpoint: str, production: str | None, development: str | None) -> None:
    service = {"id": f"{ALICE}#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": endpoint}
    doc = document(service=[{"id": "#other", "type": "X", "serviceEndpoint": "https://x.dev"}, service])
    assert read_claims(ALICE, doc, development=False).pds == production
    assert read_claims(ALICE, doc, development=True).pds == development


@pytest.mark.parametrize(
    ("aliases", "production", "development"),
    [
        (["at://Alice.Plyr-Test.dev"], HANDLE, HANDLE),
        (
            ["https://x.dev", "at://not valid", "at://one", "at://alice.dev", "at://bob.dev"],
            "alice.dev",
            "alice.dev",
        ),
        (["at://alice.dev/path"], None, None),
        (["at://alice.dev\n"], None, None),
        (["at://did:plc:abc"], None, None),
        (["at://alice.test"], None, "alice.test"),
        *(([f"at://alice.{tld}"], None, None) for tld in ("local", "arpa", "internal", "invalid", "onion")),
        *(([f"at://alice.{tld}"], None, None) for tld in ("localhost", "example", "alt", "INVALID")),
        (["at://handle.invalid", "at://alice.dev"], None, None),
    ],
)
def test_handle_is_the_first_valid_alias(
    aliases: list[str], production: str | None, development: str | None
) -> None:
    doc = document(alsoKnownAs=aliases)
    assert read_claims(ALICE, doc, development=False).handle == production
    assert read_claims(ALICE, doc, development=True).handle == development


PLC = "https://plc.plyr-test.dev"


@pytest.mark.parametrize(
    ("did", "production", "development"),
    [
        (ALICE, f"{PLC}/{ALICE}", f"{PLC}/{ALICE}"),
        (
            "did:web:alice.dev",
            "https://alice.dev/.well-known/did.json",
            "https://alice.dev/.well-known/did.json",
        ),
        ("did:web:localhost", None, "http://localhost/.well-known/did.json"),
        ("did:web:localhost%3A2583", None, "http://localhost:2583/.well-known/did.json"),
        ("did:web:alice.test", None, "https://alice.test/.well-known/did.json"),
        ("did:web:alice.local", None, None),
        ("did:web:alice.internal", None, None),
        ("did:web:alice.dev%3A443", None, None),
        ("did:web:alice.dev:path", None, None),
        ("did:web:alice.dev/path", None, None),
        ("did:web:alice.dev%2Fpath", None, None),
        ("did:web:user%40alice.dev", None, None),
        ("did:web:alice.dev.", None, None),
        ("did:web:alice..dev", None, None),
        ("did:web:169.254.169.254", None, None),
        ("did:web:127.0.0.1", None, None),
        ("did:web:127.0.0.1%3A80", None, None),
        ("did:web:2130706433", None, None),
        ("did:web:0x7f000001", None, None),
        ("did:web:0x7f.1", None, None),
        ("did:web:0177.0.0.1", None, None),
        ("did:web:%5B%3A%3A1%5D", None, None),
        ("did:web:metadata", None, None),
        ("did:web:", None, None),
        ("did:plc:short", None, None),
        ("did:plc:../../../admin0000000000", None, None),
        (f"{ALICE}\n", None, None),
        (f"{ALICE}?x", None, None),
        ("did:plc:AAAAAAAAAAAAAAAAAAAAAAAA", None, None),
        ("did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF", None, None),
        ("did:example:alice", None, None),
        ("", None, None),
    ],
)
def test_t34_document_is_looked_for_only_where_the_network_keeps_it(
    did: str, production: str | None, development: str | None
) -> None:
    assert document_url(Did(did), PLC, development=False) == production
    assert document_url(Did(did), f"{PLC}/", development=True) == development


# -- resolving


async def test_handle_is_verified_both_ways(world: World) -> None:
    world.put(document())
    world.well_known(HANDLE, Page(f" {ALICE}\n".encode()))
    doc = await world.resolver().resolve(ALICE)
    assert (doc.did, doc.handle, doc.pds, doc.signing_key) == (
        ALICE,
        HANDLE,
        "https://pds.plyr-test.dev",
        KEY.did_key,
    )


@pytest.mark.parametrize(
    "answer",
    [
        Page(BOB.encode()),
        Page(b"", 404),
        Page(b"<html>not a DID</html>"),
        Page(b"\xff\xfe"),
        Page(ALICE.encode(), 403),
        Page(ALICE.encode() + b" " * 5000),
        Page(ALICE.encode(), 500),
        Page(b"", 302, {"Location": "http://169.254.169.254/"}),
    ],
)
async def test_handle_that_does_not_resolve_back_is_none_and_the_rest_stays(
    world: World, answer: Page
) -> None:
    world.put(document())
    world.well_known(HANDLE, answer)
    doc = await world.resolver().resolve(ALICE)
    assert doc.handle is None
    assert doc.signing_key == KEY.did_key
    assert world.web.asked("atproto-did") == 1


async def test_a_handle_that_nobody_could_look_up_is_told_from_one_that_leads_nowhere(world: World) -> None:
    world.put(document())
    world.well_known(HANDLE, Page(b"", 503))
    doc = await world.resolver().resolve(ALICE)
    assert (doc.handle, doc.unchecked) == (None, HANDLE)
    world.well_known(HANDLE, Page(b"", 404))
    doc = await world.resolver().resolve(ALICE)
    assert (doc.handle, doc.unchecked) == (None, None)


async def test_document_without_a_handle_asks_nobody_about_one(world: World) -> None:
    world.put(document(handle=None))
    assert (await world.resolver().resolve(ALICE)).handle is None
    assert not world.dns.questions


async def test_dns_wins_over_https(world: World) -> None:
    world.dns.records[f"_atproto.{HANDLE}", "TXT"] = ["v=spf1", f"did={ALICE}"]
    world.well_known(HANDLE, Page(BOB.encode()))
    assert await world.resolver().resolve_handle(HANDLE.upper()) == ALICE
    assert world.web.requests == []


async def test_several_dids_in_dns_resolve_to_none(world: World) -> None:
    world.dns.records[f"_atproto.{HANDLE}", "TXT"] = [f"did={ALICE}", f"did={BOB}"]
    world.well_known(HANDLE, Page(ALICE.encode()))
    assert await world.resolver().resolve_handle(HANDLE) is None
    assert world.web.requests == []


async def test_same_did_twice_and_junk_in_dns_is_one_answer(world: World) -> None:
    world.dns.records[f"_atproto.{HANDLE}", "TXT"] = [f"did={ALICE}", f"did={ALICE}", "did=nonsense", "x=1"]
    assert await world.resolver().resolve_handle(HANDLE) == ALICE


async def test_https_answers_where_dns_has_nothing_or_is_broken(world: World) -> None:
    world.well_known(HANDLE, Page(ALICE.encode()))
    assert await world.resolver().resolve_handle(HANDLE) == ALICE
    world.dns.failing.add(f"_atproto.{HANDLE}")
    assert await world.resolver().resolve_handle(HANDLE) == ALICE


async def test_unknown_handle_is_none_and_an_unanswered_one_is_unreachable(world: World) -> None:
    assert await world.resolver().resolve_handle("nobody.plyr-test.dev") is None
    world.dns.failing.add(f"_atproto.{HANDLE}")
    with pytest.raises(IdentityUnreachable):
        await world.resolver().resolve_handle(HANDLE)
    world.dns.failing.clear()
    world.well_known(HANDLE, Page(b"", 503))
    with pytest.raises(IdentityUnreachable):
        await world.resolver().resolve_handle(HANDLE)


@pytest.mark.parametrize(
    "handle",
    ["handle.invalid", "alice.local", "alice.internal", "alice", "169.254.169.254", "a@b.dev", "x.dev\n", ""],
)
async def test_name_that_is_no_handle_is_asked_of_nobody(world: World, handle: str) -> None:
    assert await world.resolver().resolve_handle(handle) is None
    assert not world.dns.questions
    assert world.web.requests == []


async def test_xrpc_servers_are_asked_in_order_instead_of_dns_and_https(world: World) -> None:
    resolve = f"/xrpc/com.atproto.identity.resolveHandle?handle={HANDLE}"
    world.web.pages[f"{world.web.origin}/one{resolve}"] = json_page({"error": "InvalidRequest"}, 400)
    world.web.pages[f"{world.web.origin}/two{resolve}"] = json_page({"did": ALICE})
    world.dns.records[f"_atproto.{HANDLE}", "TXT"] = [f"did={BOB}"]
    resolver = world.resolver(handle_resolvers=[f"{world.web.origin}/one/", f"{world.web.origin}/two"])
    assert await resolver.resolve_handle(HANDLE) == ALICE
    assert [url.partition("/xrpc")[0][-4:] for url in world.web.requests] == ["/one", "/two"]
    assert not world.dns.questions


async def test_xrpc_server_that_is_down_makes_a_no_unknown(world: World) -> None:
    resolve = f"/xrpc/com.atproto.identity.resolveHandle?handle={HANDLE}"
    world.web.pages[f"{world.web.origin}/one{resolve}"] = Page(b"", 502)
    servers = [f"{world.web.origin}/one", f"{world.web.origin}/two"]
    with pytest.raises(IdentityUnreachable):
        await world.resolver(handle_resolvers=servers).resolve_handle(HANDLE)
    assert await world.resolver(handle_resolvers=servers[1:]).resolve_handle(HANDLE) is None


async def test_did_web_is_resolved_at_its_host(world: World) -> None:
    did = Did("did:web:artist.plyr-test.dev")
    url = f"{world.web.host('artist.plyr-test.dev')}/.well-known/did.json"
    world.web.pages[url] = json_page(document(did, None))
    assert (await world.resolver().resolve(did)).signing_key == KEY.did_key
    assert world.web.requests == [url]


async def test_did_web_of_another_id_is_invalid(world: World) -> None:
    url = f"{world.web.host('artist.plyr-test.dev')}/.well-known/did.json"
    world.web.pages[url] = json_page(document(ALICE))
    with pytest.raises(IdentityInvalid):
        await world.resolver().resolve(Did("did:web:artist.plyr-test.dev"))


async def test_t34_did_web_of_an_address_or_leading_to_one_is_invalid_without_a_request(world: World) -> None:
    world.web.names.table["inside.plyr-test.dev"] = [("169.254.169.254", None)]
    for name in ("169.254.169.254", "2130706433", "0x7f.1", "user%40localhost", "inside.plyr-test.dev"):
        with pytest.raises(IdentityInvalid):
            await world.resolver().resolve(Did(f"did:web:{name}"))
    assert world.web.requests == []


async def test_document_over_the_size_cap_is_invalid(world: World) -> None:
    did = Did("did:web:artist.plyr-test.dev")
    url = f"{world.web.host('artist.plyr-test.dev')}/.well-known/did.json"
    world.web.pages[url] = json_page(document(did, None, padding="x" * 300_000))
    with pytest.raises(IdentityInvalid):
        await world.resolver().resolve(did)
    assert world.web.requests == [url]


async def test_410_is_a_tombstone_and_404_an_unknown_did(world: World) -> None:
    world.plc(ALICE, Page(b'{"message": "DID not available"}', 410))
    with pytest.raises(IdentityTombstoned):
        await world.resolver().resolve(ALICE)
    with pytest.raises(IdentityNotFound) as unknown:
        await world.resolver().resolve(BOB)
    assert not isinstance(unknown.value, IdentityTombstoned)


@pytest.mark.parametrize(
    "page", [Page(b"", 500), Page(b"", 429), Page(b"<html>maintenance</html>"), Page(b"x", delay_s=2)]
)
async def test_directory_in_trouble_is_unreachable(world: World, page: Page) -> None:
    world.plc(ALICE, page)
    with pytest.raises(IdentityUnreachable):
        await world.resolver(timeout_s=0.2).resolve(ALICE)


# -- the cache


async def test_stampede_makes_one_request(world: World) -> None:
    world.plc(ALICE, Page(json_page(document(handle=None)).body, delay_s=0.5))
    resolver = world.resolver()
    docs = await asyncio.gather(*(resolver.resolve(ALICE) for _ in range(500)))
    assert len(set(docs)) == 1
    assert world.web.asked(ALICE) == 1


async def test_stampede_on_an_unknown_did_makes_one_request(world: World) -> None:
    world.plc(ALICE, Page(b"", 404, delay_s=0.05))
    resolver = world.resolver()
    errors = await asyncio.gather(*(resolver.resolve(ALICE) for _ in range(100)), return_exceptions=True)
    assert all(isinstance(error, IdentityNotFound) for error in errors)
    assert len(set(map(id, errors))) == 100
    assert world.web.asked(ALICE) == 1


async def test_cancelled_leader_hands_over_to_a_waiter(world: World) -> None:
    world.plc(ALICE, Page(json_page(document(handle=None)).body, delay_s=0.5))
    resolver = world.resolver()
    leader = asyncio.create_task(resolver.resolve(ALICE))
    await asyncio.sleep(0.02)
    waiters = [asyncio.create_task(resolver.resolve(ALICE)) for _ in range(5)]
    await asyncio.sleep(0.02)
    leader.cancel()
    waiters[0].cancel()
    done = await asyncio.gather(leader, *waiters, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in done] == [True, True] + [False] * 4
    assert world.web.asked(ALICE) == 2


async def test_answer_is_kept_for_its_time_to_live(world: World) -> None:
    world.put(document(handle=None))
    resolver = world.resolver(ttl_s=100)
    for moment, requests in ((0, 1), (99, 1), (101, 2), (150, 2), (202, 3)):
        world.clock[0] = 1000.0 + moment
        await resolver.resolve(ALICE)
        assert world.web.asked(ALICE) == requests


async def test_unknown_did_is_remembered_for_a_while(world: World) -> None:
    resolver = world.resolver(negative_ttl_s=50)
    for moment, requests in ((0, 1), (49, 1), (51, 2)):
        world.clock[0] = 1000.0 + moment
        with pytest.raises(IdentityNotFound):
            await resolver.resolve(ALICE)
        assert world.web.asked(ALICE) == requests


async def test_t10_refresh_sees_a_rotated_key_and_t9_needs_no_handle(world: World) -> None:
    world.put(document(handle=None))
    resolver = world.resolver(refresh_interval_s=10)
    assert (await resolver.resolve(ALICE)).signing_key == KEY.did_key
    rotated = SigningKey("rotated")
    world.put(document(handle=None, verificationMethod=[method(publicKeyMultibase=rotated.multibase)]))
    world.clock[0] += 11
    assert (await resolver.resolve(ALICE)).signing_key == KEY.did_key
    assert (await resolver.resolve(ALICE, refresh=True)).signing_key == rotated.did_key
    assert (await resolver.resolve(ALICE)).signing_key == rotated.did_key


async def test_refreshes_of_one_did_are_limited_and_none_is_forgotten(world: World) -> None:
    world.put(document(handle=None))
    resolver = world.resolver(refresh_interval_s=10)
    await resolver.resolve(ALICE)
    assert resolver.refresh_due_s(ALICE) is None
    world.clock[0] += 4
    for _ in range(50):
        await resolver.resolve(ALICE, refresh=True)
    assert world.web.asked(ALICE) == 1
    assert resolver.refresh_due_s(ALICE) == 6
    world.clock[0] += 6
    await resolver.resolve(ALICE)
    assert world.web.asked(ALICE) == 2
    assert resolver.refresh_due_s(ALICE) is None


async def test_refresh_that_joins_a_fetch_under_way_is_owed(world: World) -> None:
    world.plc(ALICE, Page(json_page(document(handle=None)).body, delay_s=0.5))
    resolver = world.resolver(refresh_interval_s=10)
    first = asyncio.create_task(resolver.resolve(ALICE))
    await asyncio.sleep(0.02)
    await resolver.resolve(ALICE, refresh=True)
    await first
    assert world.web.asked(ALICE) == 1
    assert resolver.refresh_due_s(ALICE) == 10


async def test_refresh_that_joins_a_fetch_begun_long_before_fetches_again(world: World) -> None:
    world.plc(ALICE, Page(json_page(document(handle=None)).body, delay_s=0.5))
    resolver = world.resolver(refresh_interval_s=10)
    first = asyncio.create_task(resolver.resolve(ALICE))
    await asyncio.sleep(0.02)
    rotated = SigningKey("rotated")
    world.put(document(handle=None, verificationMethod=[method(publicKeyMultibase=rotated.multibase)]))
    world.clock[0] += 10
    assert (await resolver.resolve(ALICE, refresh=True)).signing_key == rotated.did_key
    assert (await first).signing_key == KEY.did_key
    assert world.web.asked(ALICE) == 2


async def test_last_document_outlives_an_outage(world: World) -> None:
    world.put(document(handle=None))
    resolver = world.resolver(ttl_s=100, retry_s=5)
    known = await resolver.resolve(ALICE)
    world.plc(ALICE, Page(b"", 503))
    world.clock[0] += 101
    assert await resolver.resolve(ALICE) == known
    assert world.web.asked(ALICE) == 2
    world.clock[0] += 1000
    with pytest.raises(IdentityUnreachable):
        await resolver.resolve(ALICE, refresh=True)
    assert await resolver.resolve(ALICE) == known


async def test_document_that_is_gone_replaces_the_last_one(world: World) -> None:
    world.put(document(handle=None))
    resolver = world.resolver(ttl_s=100)
    await resolver.resolve(ALICE)
    world.plc(ALICE, Page(b"", 410))
    world.clock[0] += 101
    with pytest.raises(IdentityTombstoned):
        await resolver.resolve(ALICE)


async def test_verified_handle_outlives_an_outage_and_not_a_no(world: World) -> None:
    world.put(document())
    world.well_known(HANDLE, Page(ALICE.encode()))
    resolver = world.resolver(ttl_s=1000, negative_ttl_s=50)
    assert (await resolver.resolve(ALICE)).handle == HANDLE
    world.well_known(HANDLE, Page(b"", 500))
    world.clock[0] += 1001
    assert (await resolver.resolve(ALICE)).handle == HANDLE
    world.well_known(HANDLE, Page(BOB.encode()))
    world.clock[0] += 51  # an unsure answer is asked about sooner
    assert (await resolver.resolve(ALICE)).handle is None


async def test_directory_that_asks_for_a_pause_gets_one(world: World) -> None:
    world.plc(ALICE, Page(b"", 429, {"Retry-After": "40"}))
    world.put(document(BOB, None))
    resolver = world.resolver()
    with pytest.raises(IdentityUnreachable):
        await resolver.resolve(ALICE)
    with pytest.raises(IdentityUnreachable):
        await resolver.resolve(BOB)
    assert world.web.asked(BOB) == 0
    world.clock[0] += 41
    assert (await resolver.resolve(BOB)).did == BOB


async def test_cache_is_bounded_and_forgets_the_least_used(world: World) -> None:
    dids = [Did(fake_did(n)) for n in range(4)]
    for did in dids:
        world.put(document(did, None))
    resolver = world.resolver(cache_size=3)
    for did in (*dids[:3], dids[0], dids[3], dids[0], dids[1]):
        await resolver.resolve(did)
    assert [world.web.asked(did) for did in dids] == [1, 2, 1, 1]
