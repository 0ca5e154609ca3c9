"""The rules of an XRPC server (X1 to X6, X11, X15, X17), over all methods."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from lexicons.catalog import Catalog
from tests.integration.appview.service import Answer, World, served

TRACK = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/fm.plyr.track/3jzfcijpj2z2a"
LIST = TRACK.replace("track", "list")

# Per method: parameters that are right for the world of `full`, the error that a wrong name gets, and
# the parameter that names it.
METHODS: dict[str, tuple[dict[str, Any], str | None, dict[str, str]]] = {
    "actor.getProfile": ({"actor": "ann.test"}, "ActorNotFound", {"actor": "nobody.test"}),
    "actor.getProfiles": ({"actors": ["ann.test"]}, None, {}),
    "actor.searchActors": ({"q": "ann"}, None, {}),
    "feed.getActorLikes": ({"actor": "ann.test"}, "ActorNotFound", {"actor": "did:plc:nobody"}),
    "feed.getActorTracks": ({"actor": "ann.test"}, "ActorNotFound", {"actor": "nobody.test"}),
    "feed.getComments": ({"uri": "TRACK"}, "TrackNotFound", {"uri": TRACK}),
    "feed.getLatest": ({}, None, {}),
    "feed.getLikes": ({"uri": "TRACK"}, "TrackNotFound", {"uri": TRACK}),
    "feed.getTop": ({}, None, {}),
    "feed.getTrack": ({"uri": "TRACK"}, "TrackNotFound", {"uri": TRACK}),
    "feed.getTracks": ({"uris": ["TRACK"]}, None, {}),
    "feed.searchTracks": ({"q": "one"}, None, {}),
    "graph.getActorLists": ({"actor": "ann.test"}, "ActorNotFound", {"actor": "nobody.test"}),
    "graph.getList": ({"list": "LIST"}, "ListNotFound", {"list": LIST}),
    "server.describe": ({}, None, {}),
    "server.getStats": ({}, None, {}),
    "sync.getRepoState": ({"actor": "ann.test"}, "RepoNotFound", {"actor": "nobody.test"}),
}
PAGED = [name for name in METHODS if name.split(".")[1] not in (
    "getProfile", "getProfiles", "getTrack", "getTracks", "describe", "getStats", "getRepoState"
)]  # fmt: skip
EACH = pytest.mark.parametrize("name", METHODS)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def right(world: World, name: str) -> dict[str, Any]:
    """The parameters that the method wants, with real addresses in them."""
    tracks = await world.server.ask("feed.getActorTracks", {"actor": "ann.test"})
    lists = await world.server.ask("graph.getActorLists", {"actor": "ann.test"})
    real = {"TRACK": tracks["tracks"][-1]["uri"], "LIST": lists["lists"][0]["uri"]}
    params = METHODS[name][0]
    return {
        key: [real.get(item, item) for item in value] if isinstance(value, list) else real.get(value, value)
        for key, value in params.items()
    }


def is_error(answer: Answer, status: int, error: str) -> bool:
    body = answer.json
    assert (answer.status, body["error"]) == (status, error), body
    assert set(body) == {"error", "message"}
    assert body["message"]
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    return True


async def test_the_table_has_every_method(catalog: Catalog):
    """Those that answer JSON to everybody; proofs, and what is somebody's own, have tests of their own."""
    mine = {n: each for n, each in catalog.queries().items() if n.startswith("fm.plyr.")}
    json = {nsid for nsid, method in mine.items() if method.output == "application/json"}
    private = {n for n in json if n.startswith("fm.plyr.audio.") or n == "fm.plyr.actor.getPreferences"}
    assert {f"fm.plyr.{name}" for name in METHODS} == json - private


@EACH
async def test_a_good_answer_is_valid_by_its_lexicon(full: World, name: str):
    before = len(full.server.checked)
    answer = await full.server.ask(name, await right(full, name))
    assert full.server.checked[-1] == f"fm.plyr.{name}"
    assert len(full.server.checked) > before
    assert all(
        answer[key] != [] for key in answer if key in ("tracks", "likes", "comments", "lists", "items")
    )


@EACH
async def test_x1_a_wrong_verb_is_refused(full: World, name: str):
    for verb in ("POST", "PUT", "DELETE", "PATCH"):
        answer = await full.server.request(verb, f"/xrpc/fm.plyr.{name}", data=b"{}")
        assert is_error(answer, 400, "InvalidRequest")
        assert answer.json["message"] == "Incorrect HTTP method"


@EACH
async def test_x1_head_is_get_without_a_body(full: World, name: str):
    path, params = f"/xrpc/fm.plyr.{name}", await right(full, name)
    head = await full.server.request("HEAD", path, params=params)
    get = await full.server.request("GET", path, params=params)
    assert head.status == 200
    assert head.body == b""
    assert (
        head.headers["Content-Length"] == str(len(get.body)) or get.headers.get("Content-Encoding") == "gzip"
    )
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@EACH
async def test_x4_missing_parameters_are_named(full: World, name: str):
    answer = await full.server.request("GET", f"/xrpc/fm.plyr.{name}")
    needed = list(METHODS[name][0])
    if not needed:
        assert answer.status == 200
    else:
        assert is_error(answer, 400, "InvalidRequest")
        assert needed[0] in answer.json["message"]


@EACH
async def test_x4_unknown_parameters_are_ignored(full: World, name: str):
    params = await right(full, name)
    assert await full.server.ask(name, params | {"x": "y", "limits": "many"})


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name][1]])
async def test_x3_what_is_not_there_has_the_error_of_the_lexicon(full: World, catalog: Catalog, name: str):
    _, error, params = METHODS[name]
    assert await full.server.refused(name, params) == (400, error)
    assert error in catalog.methods[f"fm.plyr.{name}"].errors  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", PAGED)
@pytest.mark.parametrize("limit", ["0", "101", "-1", "+1", "01", "1.0", "1e1", "ten", "", " 5", "9" * 30])
async def test_x4_limits_are_from_1_to_100(full: World, name: str, limit: str):
    assert await full.server.refused(name, await right(full, name) | {"limit": limit}) == (
        400,
        "InvalidRequest",
    )


@pytest.mark.parametrize("name", PAGED)
async def test_x4_a_parameter_given_twice_is_refused(full: World, name: str):
    params = [*(await right(full, name)).items(), ("limit", "5"), ("limit", "6")]
    assert await full.server.refused(name, params) == (400, "InvalidRequest")


@pytest.mark.parametrize("name", PAGED)
@pytest.mark.parametrize(
    "cursor",
    ["", "x", "!!!", "AAAA", "MXwy", "fHw", "e30", "MjAyNi0xMy0wMSAwMDowMDowMCswMHwx", "aW5maW5pdHl8MQ", "é",
     "A" * 5000, "MQ", "MXwx", "MS41fDE", "OTk5OTk5OTk5OTk5OTk5OTk5OTl8MQ",
     "MjAyNi0wMS0wMSAwMDowMDowMCswMHwt", "fA=="],
)  # fmt: skip
async def test_x6_a_bad_cursor_is_refused(full: World, name: str, cursor: str):
    """Or it is what another listing would have given out: then it is a place like any other."""
    params = await right(full, name) | {"cursor": cursor}
    answer = await full.server.request("GET", f"/xrpc/fm.plyr.{name}", params=params)
    plausible = {
        "MQ": {"graph.getList"},
        "MXwx": {"feed.getTop", "feed.searchTracks", "actor.searchActors"},
        "MXwy": {"feed.getTop", "feed.searchTracks", "actor.searchActors"},
        "MS41fDE": {"feed.searchTracks", "actor.searchActors"},
        "MjAyNi0wMS0wMSAwMDowMDowMCswMHwt": {"feed.getActorLikes"},
    }
    if name in plausible.get(cursor, ()):
        assert answer.status == 200
    else:
        assert is_error(answer, 400, "InvalidRequest")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("feed.getTrack", {"uri": "https://plyr.fm"}),
        ("feed.getTrack", {"uri": ""}),
        ("feed.getTrack", {"uri": "at://ann.test/fm.plyr.track/a b"}),
        ("feed.getLikes", {"uri": "at://"}),
        ("actor.getProfile", {"actor": "@ann.test"}),
        ("actor.getProfile", {"actor": "ann"}),
        ("actor.getProfile", {"actor": "did:plc:\n"}),
        ("actor.getProfile", {"actor": "ann.test\n"}),
        ("actor.getProfiles", {"actors": ["ann.test"] * 26}),
        ("feed.getTracks", {"uris": [TRACK] * 51}),
        ("feed.getTracks", {"uris": [TRACK, "x"]}),
        ("graph.getActorLists", {"actor": "ann.test", "listType": "x" * 65}),
    ],
)
async def test_x4_malformed_parameters_are_refused(full: World, name: str, params: dict[str, Any]):
    assert await full.server.refused(name, params) == (400, "InvalidRequest")


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("at://ann.test", "TrackNotFound"),
        ("at://ann.test/fm.plyr.track", "TrackNotFound"),
        ("at://ann.test/fm.plyr.list/3jzfcijpj2z2a", "TrackNotFound"),
        ("at://nobody.test/fm.plyr.track/3jzfcijpj2z2a", "TrackNotFound"),
    ],
)
async def test_x3_an_address_of_something_else_is_no_track(full: World, uri: str, error: str):
    for name in ("feed.getTrack", "feed.getLikes", "feed.getComments"):
        assert await full.server.refused(name, {"uri": uri}) == (400, error)


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/xrpc/fm.plyr.feed.getNothing", 501, "MethodNotImplemented"),
        ("/xrpc/com.atproto.repo.getRecord", 501, "MethodNotImplemented"),
        ("/xrpc/fm.plyr.track", 501, "MethodNotImplemented"),
        ("/xrpc/fm.plyr.feed.getlatest", 501, "MethodNotImplemented"),
        ("/xrpc/fm.plyr.feed.getLatest/x", 400, "InvalidRequest"),
        ("/xrpc/fm.plyr.feed.getLatest%0A", 400, "InvalidRequest"),
        ("/xrpc/getLatest", 400, "InvalidRequest"),
        ("/xrpc/_health/x", 400, "InvalidRequest"),
        ("/xrpc/..%2f..%2fetc", 400, "InvalidRequest"),
        ("/xrpc/%FF", 400, "InvalidRequest"),
        ("/xrpc/", 400, "InvalidRequest"),
        ("/xrpc", 400, "InvalidRequest"),
    ],
)
@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_x3_methods_that_we_do_not_have(full: World, verb: str, path: str, status: int, error: str):
    assert is_error(await full.server.request(verb, path), status, error)


async def raw(world: World, request: bytes) -> bytes:
    parts = urlsplit(world.server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /xrpc/fm.plyr.feed.getLatest HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"GET /xrpc/fm.plyr.feed.getLatest HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /xrpc/" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
    ],
    ids=["no http", "bad header", "bad length", "long line", "long header"],
)
async def test_x2_what_is_no_http_gets_json_too(full: World, request_: bytes):
    head, _, body = (await raw(full, request_)).partition(b"\r\n\r\n")
    assert head.split(maxsplit=2)[1] == b"400"
    assert b"application/json" in head
    assert body.startswith(b'{"error":"InvalidRequest"')


async def test_a_refused_body_is_read_to_its_end_so_that_no_proxy_is_cut_off(full: World):
    """Whoever passes a long body on reads our answer when it has passed on all of it, and goes on."""
    url = urlsplit(full.server.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    size = 30 * 1024 * 1024
    head = f"POST /xrpc/fm.plyr.feed.getLatest HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode())
    for _ in range(30):
        writer.write(bytes(size // 30))
        await writer.drain()
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400 ")
    await reader.readuntil(b"}")
    writer.write(b"GET /robots.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_x2_a_bug_tells_the_caller_an_id_and_nothing_else(shared_database: str, catalog: Catalog):
    async def broken(request: object) -> None:
        raise RuntimeError("secret detail")

    async with served(shared_database, catalog, viewer_of=broken) as server:
        answer = await server.request("GET", "/xrpc/fm.plyr.feed.getLatest")
        assert is_error(answer, 500, "InternalServerError")
        assert b"secret" not in answer.body
        assert (await server.request("GET", "/xrpc/_health")).status == 200


@EACH
async def test_x15_a_browser_may_ask_from_any_origin(full: World, name: str):
    wish = {
        "Origin": "https://plyr.fm",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization, atproto-accept-labelers",
    }
    answer = await full.server.request("OPTIONS", f"/xrpc/fm.plyr.{name}", headers=wish)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, atproto-accept-labelers"
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    get = await full.server.request("GET", f"/xrpc/fm.plyr.{name}", headers={"Origin": "https://plyr.fm"})
    assert get.headers["Access-Control-Allow-Origin"] == "*"
    exposed = get.headers["Access-Control-Expose-Headers"]
    assert all(header in exposed for header in ("RateLimit-Limit", "Atproto-Repo-Rev", "Retry-After"))


@pytest.mark.parametrize(
    ("accepts", "packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("identity", False), ("gzip;q=0", False),
     ("", False), ("gzip; q=0.000", False), ("deflate, br", False), (None, False)],
)  # fmt: skip
async def test_long_answers_are_compressed_for_those_who_want_it(
    full: World, accepts: str | None, packed: bool
):
    header = "" if accepts is None else f"Accept-Encoding: {accepts}\r\n"
    request = f"GET /xrpc/fm.plyr.feed.getLatest HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"
    head, _, body = (await raw(full, request.encode())).partition(b"\r\n\r\n")
    assert (b"Content-Encoding: gzip" in head) is packed
    assert b"Vary: Accept-Encoding" in head
    assert (gzip.decompress(body) if packed else body).startswith(b'{"tracks":[{"id":')


async def test_short_answers_are_left_alone(full: World):
    answer = await full.server.request("GET", "/xrpc/_health", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers


async def test_x17_health_says_the_version(full: World):
    answer = await full.server.request("GET", "/xrpc/_health")
    assert (answer.status, answer.json) == (200, {"version": "9.8.7"})
    assert (await full.server.request("HEAD", "/xrpc/_health")).status == 200


async def test_x17_health_is_503_soon_when_the_database_is_gone(catalog: Catalog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/x"
        async with served(dsn, catalog) as server:
            async with asyncio.timeout(20):
                answer = await server.request("GET", "/xrpc/_health")
            assert answer.status == 503
            assert set(answer.json) == {"version", "error"}
            answer = await server.request("GET", "/xrpc/fm.plyr.feed.getLatest")
            assert is_error(answer, 503, "ServiceUnavailable")
            assert answer.headers["Retry-After"] == "1"


async def test_x11_the_did_document_is_served_at_its_own_host_alone(shared_database: str, catalog: Catalog):
    options = {"service_did": "did:web:audio.test", "public_url": "https://audio.test"}
    async with served(shared_database, catalog, **options) as server:
        answer = await server.request("GET", "/.well-known/did.json", headers={"Host": "Audio.test"})
        assert answer.json["id"] == "did:web:audio.test"
        assert answer.json["service"] == [
            {"id": "#plyr_appview", "type": "PlyrAppView", "serviceEndpoint": "https://audio.test"}
        ]
        assert (await server.request("GET", "/.well-known/did.json")).status == 404
        assert (await server.ask("server.describe"))["did"] == "did:web:audio.test"


async def test_x11_a_did_web_with_a_port_is_compared_with_it(shared_database: str, catalog: Catalog):
    async with served(shared_database, catalog, service_did="did:web:localhost%3A8000") as server:
        answer = await server.request("GET", "/.well-known/did.json", headers={"Host": "localhost:8000"})
        assert answer.json["service"][0]["serviceEndpoint"] == "http://localhost:8000"
        assert (
            await server.request("GET", "/.well-known/did.json", headers={"Host": "localhost"})
        ).status == 404


async def test_x17_robots_are_asked_to_leave_the_api_alone(full: World):
    answer = await full.server.request("GET", "/robots.txt")
    assert answer.status == 200
    assert b"Disallow: /xrpc/" in answer.body


async def test_metrics_count_by_method_and_status(shared_database: str, catalog: Catalog):
    async with served(shared_database, catalog) as server:
        await server.ask("feed.getLatest")
        await server.request("GET", "/xrpc/fm.plyr.feed.getNothing")
        text = (await server.request("GET", "/metrics")).body.decode()
    assert 'plyr_xrpc_requests_total{method="fm.plyr.feed.getLatest",status="200"} 1.0' in text
    assert 'plyr_xrpc_requests_total{method="unknown",status="501"} 1.0' in text
    assert 'plyr_xrpc_seconds_count{method="fm.plyr.feed.getLatest"} 1.0' in text


async def test_in_a_development_namespace_the_methods_carry_it(shared_database: str):
    async with served(shared_database, Catalog.load("fm.plyr.dev")) as server:
        assert len((await server.ask("feed.getLatest"))["tracks"]) == 3
        answer = await server.request("GET", "/xrpc/fm.plyr.feed.getLatest")
        assert is_error(answer, 501, "MethodNotImplemented")
