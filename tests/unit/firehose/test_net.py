"""The guarded client: where it does not go, and what it does not wait for."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import time
import tracemalloc
import zlib

import pytest
from aiohttp import web

from firehose.address import check_url, is_public_address
from firehose.dns import Dns, DnsFailed, NoSuchName
from firehose.fetch_errors import BadBody, BadStatus, Blocked, NoSuchHost, TimedOut, TooLarge, Unreachable
from firehose.net import GuardedClient
from tests.fakenet.dns import FakeDns
from tests.fakenet.http import FakeWeb, Names, Page, json_page, redirect
from tests.fakenet.tls import Authority

HOST = "a.plyr-test.dev"


# -- URLs

REFUSED_ALWAYS = [
    "http://example.com/",  # not https
    "ftp://example.com/",
    "file:///etc/passwd",
    "https://",
    "https:///path",
    "https:example.com/",
    "//example.com/",
    "example.com",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@169.254.169.254/",
    "https://example.com%40169.254.169.254/",
    "https://%6c%6f%63%61%6c%68%6f%73%74/",
    "https://example.com:22/",
    "https://example.com:8443/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:4 43/",
    "https://example.com:/",
    "https://example.com./",
    "https://example..com/",
    "https://.example.com/",
    "https://-example.com/",
    "https://example/",  # a single label is a name of the local network
    "https://metadata/",
    "https://1.1.1.1/",  # an address, however public, is no name
    "https://[2606:4700:4700::1111]/",
    "https://169.254.169.254/",
    "https://10.0.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.0.1.nip.io.1/",
    "https://127.0.0.1./",
    "https://0/",
    "https://0.0.0.0/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00::1]/",
    "https://[::1/",
    "https://exa mple.com/",
    "https://example.com/a b",
    "https://example.com/\r\nHost: localhost",
    "https://example.com/\n",
    "https://example.com\\@localhost/",
    "https://example.com\t/",
    "https://①②⑦.⓪.⓪.①/",
    "https://ｌocalhost/",
    "https://bücher.example/",
    "https://example.com#@localhost/",
    "https://example.com/#fragment",
    "",
]
REFUSED_IN_PRODUCTION = [
    "http://localhost/",
    "http://localhost:2583/",
    "https://localhost/",
    "https://pds.localhost/",
    "http://127.0.0.1:2583/",
    "https://127.0.0.1/",
    "http://[::1]:2583/",
]


@pytest.mark.parametrize("url", REFUSED_ALWAYS)
def test_t34_url_is_refused_in_production_and_in_development(url: str) -> None:
    with pytest.raises(Blocked):
        check_url(url, allow_loopback=False)
    with pytest.raises(Blocked):
        check_url(url, allow_loopback=True)


@pytest.mark.parametrize("url", REFUSED_IN_PRODUCTION)
def test_loopback_url_is_for_development_alone(url: str) -> None:
    assert check_url(url, allow_loopback=True).host in ("localhost", "pds.localhost", "127.0.0.1", "::1")
    with pytest.raises(Blocked):
        check_url(url, allow_loopback=False)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://example.com", "example.com", 443),
        ("https://Example.COM/", "example.com", 443),
        ("https://example.com:443/a?b=c%20d", "example.com", 443),
        ("https://example.com:80/", "example.com", 80),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
        ("https://example.com?handle=a", "example.com", 443),
        ("https://example.com/path@with:signs", "example.com", 443),
    ],
)
def test_public_https_url_passes(url: str, host: str, port: int) -> None:
    parsed = check_url(url, allow_loopback=False)
    assert (parsed.scheme, parsed.raw_host, parsed.port) == ("https", host, port)


# -- addresses

NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1"),
    *("127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1"),
    *("192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::8.8.8.8"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1"),
    *("2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:808:808::1", "3fff::1", "fc00::1", "fd00::1"),
    *("fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700:4700::1111%eth0", "4000::1"),
    *("", "localhost", "1.2.3", "0x7f000001", "1.2.3.4.5", "01.2.3.4", "１.1.1.1"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255", "198.20.0.0", "223.255.255.255"),
    *("2606:4700:4700::1111", "2001:4860:4860::8888", "2a01:4f8::1", "2003::1"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_t34_address_is_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_address_is_public(address: str) -> None:
    assert is_public_address(address)


def test_no_public_address_is_private_by_the_standard_library() -> None:
    """An independent table: whatever Python's own calls private, we do not go to."""
    step = 0x0100_0000 // 16
    for number in range(0, 2**32, step):
        address = str(ipaddress.IPv4Address(number))
        if is_public_address(address):
            assert ipaddress.IPv4Address(number).is_global, address


# -- names


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "fd00::5", "2002:a00:5::"]
)
async def test_t34_name_that_resolves_to_a_private_address_is_blocked(address: str) -> None:
    names = Names()
    names.table["innocent.plyr-test.dev"] = [(address, None)]
    async with GuardedClient(resolver=names) as client:
        with pytest.raises(Blocked, match="not a public address"):
            await client.get_bytes("https://innocent.plyr-test.dev/", max_bytes=10, timeout_s=5)
    assert names.asked == ["innocent.plyr-test.dev"]


async def test_t34_one_private_address_among_public_ones_blocks_the_name() -> None:
    names = Names()
    names.table["mixed.plyr-test.dev"] = [("1.1.1.1", None), ("127.0.0.1", None)]
    async with GuardedClient(resolver=names) as client:
        with pytest.raises(Blocked):
            await client.get_bytes("https://mixed.plyr-test.dev/", max_bytes=10, timeout_s=5)


@pytest.mark.parametrize("address", ["10.0.0.5", "169.254.169.254", "fd00::5", "::ffff:127.0.0.1"])
async def test_development_mode_opens_loopback_and_nothing_else(address: str) -> None:
    names = Names()
    names.table["innocent.plyr-test.dev"] = [(address, None)]
    async with GuardedClient(allow_loopback=True, resolver=names) as client:
        with pytest.raises(Blocked):
            await client.get_bytes("https://innocent.plyr-test.dev/", max_bytes=10, timeout_s=5)


async def test_t34_name_that_answers_differently_the_second_time_is_asked_once(
    fake_web: FakeWeb, client: GuardedClient
) -> None:
    fake_web.pages[f"https://{HOST}/"] = Page(b"first")
    await client.get_bytes(f"https://{HOST}/", max_bytes=10, timeout_s=5)
    fake_web.names.table[HOST] = [("10.0.0.5", None)]
    again = await client.get_bytes(f"https://{HOST}/", max_bytes=10, timeout_s=5)
    assert again.body == b"first"
    assert fake_web.names.asked == [HOST]


async def test_localhost_is_never_asked_of_a_name_server(fake_web: FakeWeb, client: GuardedClient) -> None:
    fake_web.pages[f"{fake_web.origin}/page"] = Page(b"here")
    fake_web.names.table["localhost"] = [("10.0.0.5", None)]
    answer = await client.get_bytes(f"{fake_web.origin}/page", max_bytes=10, timeout_s=5)
    assert (answer.status, answer.body) == (200, b"here")
    assert fake_web.names.asked == []


async def test_name_without_address_is_no_such_host(client: GuardedClient) -> None:
    with pytest.raises(NoSuchHost):
        await client.get_bytes("https://nobody.plyr-test.dev/", max_bytes=10, timeout_s=5)


async def test_certificate_of_another_name_is_refused(fake_web: FakeWeb, client: GuardedClient) -> None:
    fake_web.names.table["plyr-elsewhere.dev"] = fake_web.names.table[HOST]
    with pytest.raises(Unreachable, match="certificate"):
        await client.get_bytes("https://plyr-elsewhere.dev/", max_bytes=10, timeout_s=5)
    assert fake_web.requests == []


async def test_dns_gives_both_kinds_of_address_and_joins_txt() -> None:
    async with FakeDns() as server:
        server.records["host.test", "A"] = ["192.0.2.1"]
        server.records["host.test", "AAAA"] = ["2001:db8::1"]
        server.records["text.test", "TXT"] = ["did=did:plc:one", "other"]
        dns = Dns(server.resolver(), lifetime_s=2)
        assert [a["host"] for a in await dns.resolve("host.test", 443)] == ["192.0.2.1", "2001:db8::1"]
        assert sorted(await dns.txt("text.test")) == ["did=did:plc:one", "other"]
        assert await dns.txt("host.test") == []
        assert await dns.txt("a" * 64 + ".test") == []
        with pytest.raises(NoSuchName):
            await dns.resolve("nobody.test", 443)


async def test_dns_that_does_not_answer_is_not_an_answer() -> None:
    async with FakeDns() as server:
        server.mute.add("mute.test")
        server.failing.add("failing.test")
        dns = Dns(server.resolver(), lifetime_s=0.2)
        for name in ("mute.test", "failing.test"):
            with pytest.raises(DnsFailed):
                await dns.txt(name)
            with pytest.raises(DnsFailed):
                await dns.resolve(name, 443)


async def test_real_name_server_leading_home_is_blocked() -> None:
    async with FakeDns() as server:
        server.records["home.plyr-test.dev", "A"] = ["127.0.0.1"]
        async with GuardedClient(resolver=Dns(server.resolver())) as client:
            with pytest.raises(Blocked):
                await client.get_bytes("https://home.plyr-test.dev/", max_bytes=10, timeout_s=5)
        assert server.questions["home.plyr-test.dev", "A"] == 1


# -- redirects


async def test_redirect_is_followed_to_another_host(fake_web: FakeWeb, client: GuardedClient) -> None:
    other = fake_web.host("b.plyr-test.dev")
    fake_web.pages[f"https://{HOST}/"] = redirect(f"{other}/there")
    fake_web.pages[f"{other}/there"] = redirect("relative?x=1#part", 307)
    fake_web.pages[f"{other}/relative?x=1"] = Page(b"found")
    answer = await client.get_bytes(f"https://{HOST}/", max_bytes=10, timeout_s=5)
    assert (answer.body, answer.url) == (b"found", f"{other}:443/relative?x=1".replace(":443", ""))


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/",
        "https://a.plyr-test.dev:22/",
        "http://a.plyr-test.dev/",
        "//10.0.0.1/",
        "https://2130706433/",
        "https://user@a.plyr-test.dev/",
        "file:///etc/passwd",
        "https:\\\\localhost/",
        "gopher://localhost:6379/_FLUSHALL",
    ],
)
async def test_t34_redirect_is_checked_like_the_first_url(
    fake_web: FakeWeb, client: GuardedClient, location: str
) -> None:
    fake_web.pages[f"https://{HOST}/"] = redirect(location)
    with pytest.raises(Blocked):
        await client.get_bytes(f"https://{HOST}/", max_bytes=10, timeout_s=5)
    assert len(fake_web.requests) == 1


async def test_t34_redirect_to_a_name_with_a_private_address_is_blocked(
    fake_web: FakeWeb, client: GuardedClient
) -> None:
    fake_web.names.table["inside.plyr-test.dev"] = [("192.168.1.1", None)]
    fake_web.pages[f"https://{HOST}/"] = redirect("https://inside.plyr-test.dev/")
    with pytest.raises(Blocked, match=r"192\.168\.1\.1"):
        await client.get_bytes(f"https://{HOST}/", max_bytes=10, timeout_s=5)


async def test_fourth_redirect_is_refused(fake_web: FakeWeb, client: GuardedClient) -> None:
    for step in range(5):
        fake_web.pages[f"https://{HOST}/{step}"] = redirect(f"/{step + 1}")
    fake_web.pages[f"https://{HOST}/5"] = Page(b"end")
    with pytest.raises(Blocked, match="more than 3 redirects"):
        await client.get_bytes(f"https://{HOST}/1", max_bytes=10, timeout_s=5)
    assert (await client.get_bytes(f"https://{HOST}/2", max_bytes=10, timeout_s=5)).body == b"end"


# -- size and time


async def test_t35_slow_loris_ends_at_the_total_timeout(fake_web: FakeWeb, client: GuardedClient) -> None:
    written = 0

    async def drip(request: web.Request, response: web.StreamResponse) -> None:
        nonlocal written
        await response.prepare(request)
        while True:
            await response.write(b".")
            written += 1
            await asyncio.sleep(0.02)

    fake_web.pages[f"https://{HOST}/"] = drip
    started = time.monotonic()
    with pytest.raises(TimedOut):
        await client.get_bytes(f"https://{HOST}/", max_bytes=1000, timeout_s=0.3)
    assert time.monotonic() - started < 5
    assert written > 2


async def test_t35_silent_name_server_ends_at_the_total_timeout() -> None:
    async with FakeDns() as server:
        server.mute.add("mute.plyr-test.dev")
        async with GuardedClient(resolver=Dns(server.resolver(), lifetime_s=30)) as client:
            started = time.monotonic()
            with pytest.raises(TimedOut):
                await client.get_bytes("https://mute.plyr-test.dev/", max_bytes=10, timeout_s=0.2)
            assert time.monotonic() - started < 5
        assert server.questions["mute.plyr-test.dev", "A"] >= 1


@pytest.mark.parametrize("declares_length", [True, False])
async def test_t35_gigabyte_body_is_cut_at_the_cap(
    fake_web: FakeWeb, client: GuardedClient, declares_length: bool
) -> None:
    sent = 0

    async def pour(request: web.Request, response: web.StreamResponse) -> None:
        nonlocal sent
        if declares_length:
            response.content_length = 10**9
        await response.prepare(request)
        while sent < 10**9:
            await response.write(b"\0" * 65536)
            sent += 65536

    fake_web.pages[f"https://{HOST}/"] = pour
    with pytest.raises(TooLarge):
        await client.get_bytes(f"https://{HOST}/", max_bytes=100_000, timeout_s=10)
    assert sent < 50_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_t35_decompression_bomb_is_cut_at_the_cap(
    fake_web: FakeWeb, client: GuardedClient, encoding: str
) -> None:
    zeros = b"\0" * 100_000_000
    bomb = gzip.compress(zeros) if encoding == "gzip" else zlib.compress(zeros)
    assert len(bomb) < 200_000
    del zeros
    fake_web.pages[f"https://{HOST}/"] = Page(bomb, headers={"Content-Encoding": encoding})
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            await client.get_bytes(f"https://{HOST}/", max_bytes=1_000_000, timeout_s=10)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "stuffed",
    [gzip.compress(b"{}") + bytes(300_000), b"\x78\x01" + b"\x00\x00\x00\xff\xff" * 60_000],
    ids=["more behind its end", "made of nothing"],
)
async def test_compressed_body_that_only_costs_is_cut_at_the_cap(
    fake_web: FakeWeb, client: GuardedClient, stuffed: bytes
) -> None:
    """Nothing comes out of it, and it could go on for as long as we wait."""
    encoding = "gzip" if stuffed.startswith(b"\x1f\x8b") else "deflate"

    async def write(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Encoding"] = encoding
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(stuffed)

    fake_web.pages[f"https://{HOST}/"] = write
    with pytest.raises(TooLarge):
        await client.get_bytes(f"https://{HOST}/", max_bytes=100_000, timeout_s=10)


async def test_compressed_body_of_the_allowed_size_is_read(fake_web: FakeWeb, client: GuardedClient) -> None:
    text = b'{"a": 1}' + b" " * 992
    fake_web.pages[f"https://{HOST}/"] = Page(gzip.compress(text), headers={"Content-Encoding": "gzip"})
    assert (await client.get_bytes(f"https://{HOST}/", max_bytes=1000, timeout_s=5)).body == text
    with pytest.raises(TooLarge):
        await client.get_bytes(f"https://{HOST}/", max_bytes=999, timeout_s=5)


@pytest.mark.parametrize(("body", "encoding"), [(b"not gzip", "gzip"), (b"x", "br"), (b"x", "gzip, gzip")])
async def test_unreadable_encoding_is_unreachable(
    fake_web: FakeWeb, client: GuardedClient, body: bytes, encoding: str
) -> None:
    fake_web.pages[f"https://{HOST}/"] = Page(body, headers={"Content-Encoding": encoding})
    with pytest.raises(Unreachable):
        await client.get_bytes(f"https://{HOST}/", max_bytes=1000, timeout_s=5)


async def test_body_of_exactly_the_cap_is_read(fake_web: FakeWeb, client: GuardedClient) -> None:
    fake_web.pages[f"https://{HOST}/"] = Page(b"x" * 1000)
    assert len((await client.get_bytes(f"https://{HOST}/", max_bytes=1000, timeout_s=5)).body) == 1000
    with pytest.raises(TooLarge):
        await client.get_bytes(f"https://{HOST}/", max_bytes=999, timeout_s=5)


# -- what goes along, and answers


async def test_no_cookie_is_kept_and_no_proxy_is_used(
    fake_web: FakeWeb, client: GuardedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9/")
    fake_web.pages[f"https://{HOST}/"] = Page(b"x", headers={"Set-Cookie": "id=1; Path=/; Secure"})
    for _ in range(2):
        assert (await client.get_bytes(f"https://{HOST}/", max_bytes=10, timeout_s=5)).status == 200
    assert [("Cookie" in headers, headers["Accept-Encoding"]) for headers in fake_web.headers] == [
        (False, "identity"),
        (False, "identity"),
    ]


async def test_connections_to_one_host_are_bounded(fake_web: FakeWeb, authority: Authority) -> None:
    fake_web.pages[f"https://{HOST}/"] = Page(b"x", delay_s=0.02)
    async with GuardedClient(
        allow_loopback=True,
        resolver=fake_web.names,
        ssl_context=authority.client_context,
        max_connections_per_host=3,
    ) as client:
        gets = [client.get_bytes(f"https://{HOST}/", max_bytes=10, timeout_s=5) for _ in range(12)]
        assert [answer.status for answer in await asyncio.gather(*gets)] == [200] * 12
    assert fake_web.most_at_once == 3


async def test_json_is_read_and_everything_else_is_an_error(fake_web: FakeWeb, client: GuardedClient) -> None:
    fake_web.pages[f"https://{HOST}/good"] = json_page({"a": [1]})
    fake_web.pages[f"https://{HOST}/busy"] = Page(b"{}", 429, {"Retry-After": "7"})
    fake_web.pages[f"https://{HOST}/html"] = Page(b"<html>")
    assert await client.get_json(f"https://{HOST}/good", max_bytes=100, timeout_s=5) == {"a": [1]}
    with pytest.raises(BadStatus) as busy:
        await client.get_json(f"https://{HOST}/busy", max_bytes=100, timeout_s=5)
    assert (busy.value.status, busy.value.retry_after_s) == (429, 7.0)
    with pytest.raises(BadBody):
        await client.get_json(f"https://{HOST}/html", max_bytes=100, timeout_s=5)


async def test_host_that_refuses_the_connection_is_unreachable(
    client: GuardedClient, fake_web: FakeWeb
) -> None:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unreachable):
        await client.get_bytes(f"http://127.0.0.1:{port}/", max_bytes=10, timeout_s=5)
    server.close()
    await server.wait_closed()
    with pytest.raises(Unreachable):
        await client.get_bytes(f"http://127.0.0.1:{port}/", max_bytes=10, timeout_s=5)
