"""Who is let in, how often, from whose pages: on a real server."""

from __future__ import annotations

import base64
import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from appview.app import make_reader
from appview.auth.secret import hashed
from appview.clients import Clients
from appview.guards import Gate, GuardConfig, install
from appview.limits import Limit
from appview.metrics import Metrics
from appview.protocol import make_runner
from appview.viewer import Viewer
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage import viewers
from storage.reader import Reads
from tests.integration.appview.service import Answer, Server, served
from tests.integration.appview.signed import LATEST, ask, good, made

HERE = Clients([ipaddress.ip_network("127.0.0.0/8")])
SITE, ELSEWHERE = "https://site.test", "https://elsewhere.test"
SECRET = "a secret of the operator"
XRPC = f"/xrpc/{LATEST}"


def behind(address: str) -> dict[str, str]:
    """As our proxy passes a request on."""
    return {"X-Forwarded-For": address}


@pytest.fixture
async def limited(database: str, catalog: Catalog) -> AsyncIterator[Server]:
    """Three requests a minute for each client; this machine is its proxy."""
    guards = GuardConfig(clients=HERE, limit=Limit(3, 60))
    async with served(database, catalog, guards=guards) as server:
        yield server


@asynccontextmanager
async def rest(config: GuardConfig) -> AsyncIterator[Server]:
    """A server with one route that changes something, and one that is the operator's."""
    app = web.Application()
    metrics = Metrics()
    gate = Gate(config, None, metrics)
    install(app, gate)

    async def written(request: web.Request) -> web.Response:
        return web.json_response({"written": True})

    async def operators(request: web.Request) -> web.Response:
        gate.require_admin(request)
        return web.json_response({"admin": True})

    async def counted(request: web.Request) -> web.Response:
        return web.Response(body=metrics.text())

    app.router.add_route("*", "/tracks/", written)
    app.router.add_post("/admin", operators)
    app.router.add_get("/metrics", counted)
    runner = make_runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as http:
            yield Server(url, http, Catalog.load(), [])
    finally:
        await runner.cleanup()


# -- limits


async def test_x16_a_client_is_told_what_it_has_left_and_when_it_may_come_again(limited: Server):
    answers = [await limited.request("GET", XRPC, headers=behind("203.0.113.9")) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"3"}
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {"3;w=60"}
    (reset,) = {int(answer.headers["RateLimit-Reset"]) for answer in answers}
    assert 0 < reset - time.time() <= 61
    assert answers[3].json["error"] == "RateLimitExceeded"
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60
    metrics = await limited.request("GET", "/metrics")
    assert b'plyr_refused_total{reason="RateLimitExceeded"} 2.0' in metrics.body


async def test_whatever_a_client_asks_for_counts(limited: Server):
    paths = ("/xrpc/no", "/xrpc/fm.plyr.feed.getNothing", f"{XRPC}?limit=0", "/")
    answers = [await limited.request("GET", path, headers=behind("203.0.113.9")) for path in paths]
    assert [answer.status for answer in answers] == [400, 501, 400, 429]
    assert set(answers[-1].json) == {"detail"}


async def test_a_person_reads_a_page_where_a_program_reads_json(limited: Server):
    """Whatever refused them; what is said of limits is said in the same headers."""
    headers = behind("203.0.113.9") | {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answers = [await limited.request("GET", "/nowhere", headers=headers) for _ in range(4)]
    assert [answer.status for answer in answers] == [404, 404, 404, 429]
    for answer, says in zip(answers[2:], ("There is nothing here", "That was too often"), strict=True):
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "style-src 'sha256-" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["RateLimit-Remaining"] == "0"
        assert f"<h1>{says}</h1>" in answer.body.decode()
    assert int(answers[3].headers["Retry-After"]) > 0
    assert (await limited.request("DELETE", "/robots.txt", headers=headers)).headers["Allow"]
    # XRPC is for programs, whoever looks.
    assert (await limited.request("GET", "/xrpc/no", headers=headers)).json["error"]


async def test_signing_in_is_tried_less_often_than_all_else(database: str, catalog: Catalog):
    """By each client; what else it may ask for is not touched."""
    guards = GuardConfig(clients=HERE, limit=Limit(20, 60), sign_in=Limit(2, 60))
    async with served(database, catalog, guards=guards) as server:

        async def start(address: str) -> Answer:
            return await server.request("GET", "/auth/start?handle=x", headers=behind(address))

        answers = [await start("203.0.113.9") for _ in range(3)]
        assert answers[2].status == 429
        assert answers[2].headers["Retry-After"]
        assert 429 not in {answer.status for answer in answers[:2]}
        assert (await start("203.0.113.10")).status != 429
        assert (await server.request("GET", "/", headers=behind("203.0.113.9"))).status == 200


async def test_clients_have_nothing_to_do_with_each_other(limited: Server):
    answers = [await limited.request("GET", XRPC, headers=behind("203.0.113.9")) for _ in range(4)]
    assert answers[-1].status == 429
    for other in ("203.0.113.10", "2001:db8::1"):
        assert (await limited.request("GET", XRPC, headers=behind(other))).status == 200


async def test_a_client_cannot_name_itself_anew(limited: Server):
    """Our proxy adds whom it has it from at the end; what a client wrote stands before that."""
    told = [f"198.51.100.{number}, 203.0.113.9" for number in range(4)]
    answers = [await limited.request("GET", XRPC, headers=behind(addresses)) for addresses in told]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]


async def test_who_has_a_network_of_ipv6_addresses_is_one_client(limited: Server):
    told = [f"2001:db8:1:2::{number}" for number in range(4)]
    answers = [await limited.request("GET", XRPC, headers=behind(address)) for address in told]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert (await limited.request("GET", XRPC, headers=behind("2001:db8:1:3::1"))).status == 200


async def test_our_own_proxies_and_health_checks_are_not_counted(limited: Server):
    for _ in range(5):
        assert (await limited.request("GET", XRPC)).status == 200
        assert (await limited.request("GET", "/xrpc/_health", headers=behind("203.0.113.9"))).status == 200


async def test_without_a_proxy_nobody_is_believed_about_addresses(database: str, catalog: Catalog):
    async with served(database, catalog, guards=GuardConfig(limit=Limit(3, 60))) as server:
        told = [f"203.0.113.{number}" for number in range(4)]
        answers = [await server.request("GET", XRPC, headers=behind(address)) for address in told]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]


async def test_an_account_is_counted_by_itself_wherever_it_asks_from(database: str, catalog: Catalog):
    """Whole PDSs come from one address. One of their people cannot use up what the others have."""
    guards = GuardConfig(clients=HERE, limit=Limit(3, 60))
    async with made(database, catalog) as world, world.server(clients=HERE, guards=guards) as server:
        ann, bob = world.known("ann"), world.known("bob")
        statuses = [
            (await ask(server, good(ann), **behind(f"203.0.113.{n}"))).status for n in (1, 2, 1, 2, 3)
        ]
        assert statuses == [200, 200, 200, 429, 429]
        assert (await ask(server, good(bob), **behind("203.0.113.1"))).status == 200
        assert (await server.request("GET", XRPC, headers=behind("203.0.113.1"))).status == 200


async def test_credentials_that_do_not_hold_are_counted_by_address(database: str, catalog: Catalog):
    guards = GuardConfig(clients=HERE, limit=Limit(3, 60))
    async with made(database, catalog) as world, world.server(clients=HERE, guards=guards) as server:
        answers = [await ask(server, "a.b.c", **behind("203.0.113.9")) for _ in range(4)]
        assert [answer.status for answer in answers] == [401, 401, 401, 429]
        metrics = (await server.request("GET", "/metrics")).body
        assert b'plyr_refused_total{reason="BadJwt"} 3.0' in metrics


# -- who asks


class Known:
    """Sessions by their tokens."""

    def __init__(self, **tokens: str) -> None:
        self.tokens = tokens

    async def viewer(self, token: str) -> Viewer | None:
        found = self.tokens.get(token)
        return None if found is None else Viewer(Did(found))

    def presumed(self, token: str) -> None:
        """Remembers nobody."""


class Stored:
    """Sessions by the hash of their token, out of their table."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def viewer(self, token: str) -> Viewer | None:
        found = await viewers.viewer(self._reads, hashed(token))
        return None if found is None else Viewer(found.did, found.rev)

    def presumed(self, token: str) -> None:
        """Remembers nobody."""


@pytest.fixture
async def signed_in(database: str, catalog: Catalog) -> AsyncIterator[Server]:
    """Ann has a session, `tok`."""
    async with made(database, catalog) as world, world.server(sessions=Known(tok="did:plc:ann")) as server:
        yield server


def is_private(answer: Answer) -> bool:
    assert answer.status == 200, answer.body
    return answer.headers.get("Cache-Control") == "private"


async def test_a_session_asks_by_cookie_or_bearer_token(signed_in: Server):
    assert is_private(await signed_in.request("GET", XRPC, headers={"Cookie": "a=b; session_id=tok"}))
    assert is_private(await signed_in.request("GET", XRPC, headers={"Authorization": "Bearer tok"}))
    assert is_private(await signed_in.request("GET", XRPC, headers={"Authorization": "bearer  tok"}))


async def test_a_stale_cookie_is_nobodys_and_a_stale_token_is_refused(signed_in: Server):
    assert not is_private(await signed_in.request("GET", XRPC, headers={"Cookie": "session_id=gone"}))
    assert not is_private(await signed_in.request("GET", XRPC, headers={"Cookie": "session_id="}))
    answer = await signed_in.request("GET", XRPC, headers={"Authorization": "Bearer gone"})
    assert (answer.status, answer.json["error"]) == (401, "InvalidToken")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')


@pytest.mark.parametrize("header", ["Basic YTpi", "DPoP tok", "Bearer", "Bearer ", "tok"])
async def test_credentials_of_another_kind_are_refused_not_passed_over(signed_in: Server, header: str):
    answer = await signed_in.request("GET", XRPC, headers={"Authorization": header})
    assert (answer.status, answer.json["error"]) == (401, "AuthenticationRequired")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_two_credentials_at_once_are_refused(signed_in: Server):
    headers = [("Authorization", "Bearer tok"), ("Authorization", "Bearer tok")]
    answer = await signed_in.request("GET", XRPC, headers=headers)
    assert (answer.status, answer.json["error"]) == (401, "AuthenticationRequired")


async def test_a_token_wins_over_a_cookie(signed_in: Server):
    headers = {"Cookie": "session_id=tok", "Authorization": "Bearer gone"}
    assert (await signed_in.request("GET", XRPC, headers=headers)).status == 401


# -- pages of others


def foreign(origin: str | None, **more: str) -> dict[str, str]:
    headers = {"Cookie": "session_id=tok", **{name.replace("_", "-"): text for name, text in more.items()}}
    return headers if origin is None else headers | {"Origin": origin}


WRITES = {
    "our own page, by its origin": ("own", {}, True),
    "our own page, as its browser says": (None, {"Sec_Fetch_Site": "same-origin"}, True),
    "a person, at the address bar": (None, {"Sec_Fetch_Site": "none"}, True),
    "the site that the operator named": (SITE, {"Sec_Fetch_Site": "same-site"}, True),
    "no browser": (None, {}, True),
    "somebody's page": (ELSEWHERE, {"Sec_Fetch_Site": "cross-site"}, False),
    "somebody's page in an old browser": (ELSEWHERE, {}, False),
    "a neighbour of ours": ("http://other.127.0.0.1", {"Sec_Fetch_Site": "same-site"}, False),
    "a page that hides": ("null", {}, False),
    "an origin that is none": ("http://[", {}, False),
    "a page that hides, as its browser says": (None, {"Sec_Fetch_Site": "cross-site"}, False),
    "a name that begins like ours": (SITE + ".evil.test", {}, False),
}


@pytest.mark.parametrize("case", WRITES)
async def test_what_a_foreign_page_wants_to_change_stays_as_it_is(case: str):
    origin, more, taken = WRITES[case]
    async with rest(GuardConfig(origins=frozenset({SITE}))) as server:
        headers = foreign(server.url if origin == "own" else origin, **more)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = await server.request(method, "/tracks/", headers=headers)
            assert answer.status == (200 if taken else 403), method
            assert set(answer.json) == ({"written"} if taken else {"detail"})
        assert (await server.request("GET", "/tracks/", headers=headers)).status == 200
        both = headers | {"Authorization": "Bearer tok"}
        assert (await server.request("POST", "/tracks/", headers=both)).status == (200 if taken else 403)
        token = {name: value for name, value in both.items() if name != "Cookie"}
        assert (await server.request("POST", "/tracks/", headers=token)).status == 200
        metrics = (await server.request("GET", "/metrics")).body
        assert (b'plyr_refused_total{reason="ForeignOrigin"} 5.0' in metrics) is not taken


@pytest.mark.parametrize("said", [{}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}])
async def test_a_page_that_came_without_https_is_foreign_where_we_have_it(said: dict[str, str]):
    """Whoever sits on the line can write such a page under our own name."""
    async with rest(GuardConfig(https=True)) as server:
        host = server.url.removeprefix("http://")
        for scheme, status in (("http", 403), ("https", 200)):
            headers = foreign(f"{scheme}://{host}", **said)
            assert (await server.request("POST", "/tracks/", headers=headers)).status == status


async def test_a_foreign_page_cannot_post_to_xrpc_with_a_cookie(signed_in: Server):
    answer = await signed_in.request("POST", XRPC, headers=foreign(ELSEWHERE))
    assert (answer.status, answer.json["error"]) == (403, "ForeignOrigin")
    without_cookie = await signed_in.request("POST", XRPC, headers={"Origin": ELSEWHERE})
    assert without_cookie.json["error"] == "InvalidRequest"  # a query takes no POST


ASKED = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "content-type"}


async def test_x15_rest_is_open_to_named_origins_alone_with_credentials():
    async with rest(GuardConfig(origins=frozenset({SITE}))) as server:
        for method, more in (("OPTIONS", ASKED), ("GET", {})):
            named = await server.request(method, "/tracks/", headers={"Origin": SITE} | more)
            assert named.headers["Access-Control-Allow-Origin"] == SITE
            assert named.headers["Access-Control-Allow-Credentials"] == "true"
            assert "Origin" in named.headers["Vary"]
            other = await server.request(method, "/tracks/", headers={"Origin": ELSEWHERE} | more)
            assert "Access-Control-Allow-Origin" not in other.headers
            assert "Access-Control-Allow-Credentials" not in other.headers
            assert "Origin" in other.headers["Vary"]
        preflight = await server.request("OPTIONS", "/tracks/", headers={"Origin": SITE} | ASKED)
        assert preflight.status == 204
        assert "DELETE" in preflight.headers["Access-Control-Allow-Methods"]
        assert preflight.headers["Access-Control-Allow-Headers"] == "content-type"


async def test_x15_xrpc_is_open_to_every_page_and_never_with_credentials(limited: Server):
    for method, more in (("OPTIONS", ASKED), ("GET", {})):
        answer = await limited.request(method, XRPC, headers={"Origin": ELSEWHERE} | more)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Atproto-Repo-Rev" in answer.headers["Access-Control-Expose-Headers"]
    assert "RateLimit-Remaining" in answer.headers["Access-Control-Expose-Headers"]


# -- the operator's secret, and headers


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


async def test_what_is_the_operators_is_closed_without_a_secret():
    async with rest(GuardConfig()) as server:
        for headers in ({}, {"X-Admin-Token": ""}, basic("admin:"), {"X-Admin-Token": "None"}):
            answer = await server.request("POST", "/admin", headers=headers)
            assert answer.status == 503
            assert set(answer.json) == {"detail"}


async def test_x20_the_operator_has_the_secret():
    async with rest(GuardConfig(admin_token=SECRET)) as server:
        for headers in (basic(f"admin:{SECRET}"), {"X-Admin-Token": SECRET}):
            assert (await server.request("POST", "/admin", headers=headers)).status == 200
        wrong: list[dict[str, str]] = [
            {},
            basic(f"root:{SECRET}"),
            basic(f"admin:{SECRET} "),
            basic("admin"),
            {"Authorization": "Basic !"},
            {"Authorization": f"Bearer {SECRET}"},
            {"X-Admin-Token": SECRET[:-1]},
            {"X-Admin-Token": "é"},
            {"X-Admin-Token": "\udce9"},  # a byte that is no UTF-8
            {"Authorization": "Basic é"},
            {"Authorization": "Basic \udce9"},
        ]
        for headers in wrong:
            answer = await server.request("POST", "/admin", headers=headers)
            assert answer.status == 401, headers
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="admin"'


async def test_what_is_nowhere_is_told_as_every_other_failure(limited: Server):
    nowhere = await limited.request("GET", "/nowhere")
    assert (nowhere.status, nowhere.json) == (404, {"detail": "Not Found"})
    unmeant = await limited.request("DELETE", "/robots.txt")
    assert (unmeant.status, unmeant.json) == (405, {"detail": "Method Not Allowed"})
    assert "GET" in unmeant.headers["Allow"]


async def test_every_answer_tells_the_browser_to_be_careful(database: str, catalog: Catalog):
    async with served(database, catalog, guards=GuardConfig(https=True)) as server:
        for path in ("/", "/robots.txt", "/nothing", "/metrics"):
            headers = (await server.request("GET", path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == ("same-origin" if path == "/" else "no-referrer")
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["Strict-Transport-Security"].startswith("max-age=")
        assert "Strict-Transport-Security" in (await server.request("GET", XRPC)).headers
    async with served(database, catalog) as server:
        assert "Strict-Transport-Security" not in (await server.request("GET", "/")).headers


# -- whose labels


async def test_x12_t46_accepted_labelers_are_echoed_and_a_broken_list_is_an_error(limited: Server):
    async def asked(*values: str) -> Answer:
        headers = [("atproto-accept-labelers", value) for value in values]
        return await limited.request("GET", XRPC, headers=headers)

    answer = await asked("did:plc:a;redact, did:web:b.test", "did:plc:a")
    assert answer.headers["Atproto-Content-Labelers"] == "did:plc:a;redact, did:web:b.test"
    for none in ((), ("",)):
        assert "Atproto-Content-Labelers" not in (await asked(*none)).headers
    refused = await asked("did:plc:a,,")
    assert (refused.status, refused.json["error"]) == (400, "InvalidRequest")


# -- how far the index is


HISTORIES: list[tuple[str | None, str, str | None]] = [
    (None, "[]", None),
    ("3l2222222222a", "[]", "3l2222222222a"),
    ("3l2222222222c", '[{"after": "3l2222222222a", "until": "3l2222222222b"}]', "3l2222222222a"),
    ("3l2222222222c", '[{"after": null, "until": "3l2222222222b"}]', None),
    ("3l2222222222d", "[]", "3l2222222222d"),
]


async def test_x14_the_rev_is_the_askers_own_and_never_runs_ahead_of_what_is_missing(
    database: str, catalog: Catalog
):
    async with (
        made(database, catalog) as world,
        make_reader(database, connections=1) as reads,
        world.server(sessions=Stored(reads)) as server,
    ):
        ann = world.known("ann")
        await world.execute(
            "insert into session (token_hash, kind, did, scope) values (sha256('tok'), 'minted', %s, '')",
            ann.did,
        )
        for rev, gaps, told in HISTORIES:
            await world.execute("update repo set rev = %s, gaps = %s where did = %s", rev, gaps, ann.did)
            for bearer in (good(ann), "tok"):
                assert (await ask(server, bearer)).headers.get("Atproto-Repo-Rev") == told
        anonymous = await server.request("GET", XRPC)
        assert "Atproto-Repo-Rev" not in anonymous.headers
