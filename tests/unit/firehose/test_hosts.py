"""What hosts of repos answer, and what each refusal is taken for (rules E2, E4, E9; T40)."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest

from firehose.host_errors import (
    HostError,
    HostRefused,
    HostUnreachable,
    MethodMissing,
    RateLimited,
    RepoDeactivated,
    RepoDesynchronized,
    RepoNotFound,
    RepoSuspended,
    RepoTakendown,
    RepoUnavailable,
)
from firehose.hosts import Download, ListedRepo, RepoStatus, SyncHost, limit_s
from firehose.lanes import Lanes
from firehose.net import GuardedClient
from lexicons.syntax import Did, Nsid, Rev
from tests.fakenet.http import FakeWeb, Page, json_page, redirect
from tests.fakenet.repo import FakeRepo

DID = Did("did:web:artist.example%3A8080")
IN_URL = "did:web:artist.example%253A8080"
CAR = {"Content-Type": "application/vnd.ipld.car"}


@pytest.fixture
def host(fake_web: FakeWeb, client: GuardedClient) -> SyncHost:
    return SyncHost(client, fake_web.host("pds.plyr-test.dev"), timeout_s=2, idle_s=2)


def url(host: SyncHost, method: str, query: str) -> str:
    return f"{host.origin}/xrpc/{method}?{query}"


def status_url(host: SyncHost) -> str:
    return url(host, "com.atproto.sync.getRepoStatus", f"did={IN_URL}")


def repo_url(host: SyncHost) -> str:
    return url(host, "com.atproto.sync.getRepo", f"did={IN_URL}")


async def test_a_repo_is_written_where_the_file_stands(fake_web: FakeWeb, host: SyncHost) -> None:
    repo = FakeRepo(DID)
    repo.write([("create", "fm.plyr.track", "1", {"n": 1})])
    fake_web.pages[repo_url(host)] = Page(repo.car(), headers=CAR)
    file = io.BytesIO(b"before")
    file.seek(6)
    assert await host.get_repo(DID, file) == Download(host.origin, len(repo.car()))
    assert file.getvalue() == b"before" + repo.car()
    assert fake_web.headers[0]["Accept"] == "application/vnd.ipld.car"


async def test_a_repo_since_a_rev_is_asked_for_as_such(fake_web: FakeWeb, host: SyncHost) -> None:
    fake_web.pages[f"{repo_url(host)}&since=3k22222222222"] = Page(b"car", headers=CAR)
    assert (await host.get_repo(DID, io.BytesIO(), Rev("3k22222222222"))).size == 3


async def test_a_relay_that_redirects_names_the_host_that_answered(fake_web: FakeWeb, host: SyncHost) -> None:
    pds = fake_web.host("far.plyr-test.dev")
    fake_web.pages[repo_url(host)] = redirect(f"{pds}/xrpc/com.atproto.sync.getRepo?did={IN_URL}")
    fake_web.pages[f"{pds}/xrpc/com.atproto.sync.getRepo?did={IN_URL}"] = Page(b"car", headers=CAR)
    assert await host.get_repo(DID, io.BytesIO()) == Download(pds, 3)


async def test_a_status_is_read(fake_web: FakeWeb, host: SyncHost) -> None:
    fake_web.pages[status_url(host)] = json_page({"did": DID, "active": True, "rev": "3k22222222222"})
    assert await host.repo_status(DID) == RepoStatus(True, None, Rev("3k22222222222"))
    fake_web.pages[status_url(host)] = json_page({"did": DID, "active": False, "status": "deactivated"})
    assert await host.repo_status(DID) == RepoStatus(False, "deactivated", None)


@pytest.mark.parametrize(
    ("status", "name", "kind", "told"),
    [
        (400, "RepoNotFound", RepoNotFound, "deleted"),
        (404, "RepoNotFound", RepoNotFound, "deleted"),
        (403, "RepoDeleted", RepoNotFound, "deleted"),
        (400, "RepoTakendown", RepoTakendown, "takendown"),
        (400, "RepoSuspended", RepoSuspended, "suspended"),
        (400, "RepoDeactivated", RepoDeactivated, "deactivated"),
        (404, "RepoNotSynchronized", RepoDesynchronized, "desynchronized"),
        (400, "RepoDesynchronized", RepoDesynchronized, "desynchronized"),
        (403, "RepoInactive", RepoUnavailable, "inactive"),
    ],
)
async def test_a_repo_that_is_not_given_has_a_status(
    fake_web: FakeWeb, host: SyncHost, status: int, name: str, kind: type[RepoUnavailable], told: str
) -> None:
    refusal = json_page({"error": name, "message": "no \0"}, status)
    fake_web.pages[status_url(host)] = fake_web.pages[repo_url(host)] = refusal
    file = io.BytesIO()
    for asked in (host.repo_status(DID), host.get_repo(DID, file)):
        with pytest.raises(RepoUnavailable) as refused:
            await asked
        assert type(refused.value) is kind
        assert refused.value.status == told
        assert "\0" not in str(refused.value)
    assert file.getvalue() == b""


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        (json_page({"error": "MethodNotImplemented", "message": ""}, 501), MethodMissing),
        (json_page({"error": "UnknownMethod"}, 400), MethodMissing),
        (Page(b"<html>404", 404), MethodMissing),
        (
            json_page({"error": "InvalidRequest", "message": "No service configured for x.y.z"}, 400),
            MethodMissing,
        ),
        (json_page({"error": "InvalidRequest", "message": "what?"}, 400), HostRefused),
        (json_page({"error": "AuthRequired"}, 401), HostRefused),
        (json_page({"error": "RepoNotFound"}, 500), HostUnreachable),
        (Page(b"<html>502", 502), HostUnreachable),
        (Page(b"<html>fine", 200, {"Content-Type": "text/html"}), HostUnreachable),
        (json_page({"error": "RepoNotFound"}, 200), HostUnreachable),
        (json_page(["list"], 200), HostUnreachable),
        (json_page({"did": "did:web:other.example", "active": True}), HostUnreachable),
        (json_page({"did": DID, "active": "yes"}), HostUnreachable),
        (json_page({"did": DID}), HostUnreachable),
        (json_page({"did": DID, "active": False, "status": "gone\0"}), HostUnreachable),
        (json_page({"did": DID, "active": False, "status": "x" * 65}), HostUnreachable),
        (Page(b"x" * 5_000_000), HostUnreachable),
        (Page(b"{}", delay_s=3), HostUnreachable),
        (redirect("https://10.0.0.1/"), HostUnreachable),
    ],
)
async def test_what_says_nothing_about_the_repo_is_no_statement_about_it(
    fake_web: FakeWeb, host: SyncHost, page: Page, kind: type[HostError]
) -> None:
    fake_web.pages[status_url(host)] = page
    with pytest.raises(HostError) as refused:
        await host.repo_status(DID)
    assert isinstance(refused.value, kind)
    assert not isinstance(refused.value, RepoUnavailable)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
async def test_a_page_instead_of_a_repo_is_refused(fake_web: FakeWeb, host: SyncHost, kind: str) -> None:
    fake_web.pages[repo_url(host)] = Page(b"<html>maintenance", headers={"Content-Type": kind})
    with pytest.raises(HostUnreachable, match="instead of a repo"):
        await host.get_repo(DID, io.BytesIO())


async def test_whatever_a_host_calls_its_page_can_be_told(fake_web: FakeWeb, host: SyncHost) -> None:
    fake_web.pages[repo_url(host)] = Page(b"?", headers={"Content-Type": "text/\udcff"})
    with pytest.raises(HostUnreachable) as refused:
        await host.get_repo(DID, io.BytesIO())
    assert str(refused.value).isascii()


async def test_no_host_may_put_itself_off_for_years(fake_web: FakeWeb, host: SyncHost) -> None:
    fake_web.pages[status_url(host)] = Page(b"", 503, {"Retry-After": "999999999"})
    with pytest.raises(HostUnreachable) as refused:
        await host.repo_status(DID)
    assert refused.value.retry_after_s == 3600


async def test_t40_a_429_in_html_without_headers_lets_the_host_rest(
    fake_web: FakeWeb, client: GuardedClient
) -> None:
    origin, lanes = fake_web.host("pds.plyr-test.dev"), Lanes(spread=lambda: 1.0)
    host, other = SyncHost(client, origin, lanes), SyncHost(client, f"{origin}/", lanes)
    fake_web.pages[repo_url(host)] = Page(b"<html>Too many requests", 429, {"Content-Type": "text/html"})
    with pytest.raises(RateLimited) as limited:
        await host.get_repo(DID, io.BytesIO())
    assert limited.value.retry_after_s == pytest.approx(5, abs=0.1)
    with pytest.raises(RateLimited) as still:
        await other.repo_status(DID)
    assert still.value.retry_after_s == pytest.approx(5, abs=0.5)
    assert len(fake_web.requests) == 1


async def test_t40_a_429_with_a_time_is_honoured(fake_web: FakeWeb, host: SyncHost) -> None:
    page = json_page({"error": "RateLimitExceeded"}, 429)
    fake_web.pages[status_url(host)] = Page(page.body, 429, {**page.headers, "Retry-After": "77"})
    with pytest.raises(RateLimited) as limited:
        await host.repo_status(DID)
    assert limited.value.retry_after_s == pytest.approx(77, abs=0.5)


def test_the_time_of_a_429_is_read_from_either_header() -> None:
    assert limit_s({"Retry-After": "7", "RateLimit-Reset": "1060"}, 1000) == 7
    assert limit_s({"RateLimit-Reset": "1060"}, 1000) == 60
    assert limit_s({"RateLimit-Reset": "900"}, 1000) == 1
    assert limit_s({"RateLimit-Reset": "soon", "Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1000) is None
    assert limit_s({}, time.time()) is None


async def test_a_host_that_fails_again_and_again_is_left_alone(fake_web: FakeWeb, host: SyncHost) -> None:
    fake_web.pages[status_url(host)] = Page(b"", 503)
    for _ in range(5):
        with pytest.raises(HostUnreachable):
            await host.repo_status(DID)
    assert len(fake_web.requests) == 3


async def test_refusals_let_no_host_rest(fake_web: FakeWeb, host: SyncHost) -> None:
    fake_web.pages[status_url(host)] = json_page({"error": "RepoDeactivated"}, 400)
    for _ in range(6):
        with pytest.raises(RepoDeactivated):
            await host.repo_status(DID)
    assert len(fake_web.requests) == 6


async def test_too_large_a_repo_says_nothing_about_the_host(fake_web: FakeWeb, client: GuardedClient) -> None:
    host = SyncHost(client, fake_web.host("pds.plyr-test.dev"), max_repo_bytes=1000)
    fake_web.pages[repo_url(host)] = Page(b"x" * 1001, headers=CAR)
    for _ in range(5):
        with pytest.raises(HostRefused):
            await host.get_repo(DID, io.BytesIO())
    assert len(fake_web.requests) == 5


async def test_the_latest_commit_is_read(fake_web: FakeWeb, host: SyncHost) -> None:
    page: dict[str, Any] = {
        "cid": "bafyreiftot7eltsc3f6g4qktykmbv6jcmdmhcx5osscan6jpdxkpqcmcza",
        "rev": "3k22222222222",
    }
    where = url(host, "com.atproto.sync.getLatestCommit", f"did={IN_URL}")
    fake_web.pages[where] = json_page(page)
    assert await host.latest_commit(DID) == (page["cid"], page["rev"])
    for spoilt in ({**page, "cid": "bafy"}, {**page, "rev": "1"}, {"rev": page["rev"]}):
        fake_web.pages[where] = json_page(spoilt)
        with pytest.raises(HostUnreachable):
            await host.latest_commit(DID)


async def test_lists_are_read_page_by_page_and_lines_without_a_did_are_counted(
    fake_web: FakeWeb, host: SyncHost
) -> None:
    fake_web.pages[url(host, "com.atproto.sync.listRepos", "limit=1000")] = json_page(
        {
            "cursor": "a/b c",
            "repos": [
                {"did": DID, "rev": "3k22222222222", "head": "x", "active": True},
                {"did": "did:web:b.example", "active": False, "status": "takendown"},
                {"did": "nobody"},
                17,
            ],
        }
    )
    fake_web.pages[url(host, "com.atproto.sync.listRepos", "cursor=a%2Fb+c&limit=1000")] = json_page(
        {"repos": []}
    )
    first = await host.list_repos()
    assert first.repos == (
        ListedRepo(DID, Rev("3k22222222222")),
        ListedRepo(Did("did:web:b.example"), None, False, "takendown"),
    )
    assert (first.cursor, first.skipped) == ("a/b c", 2)
    assert (await host.list_repos(first.cursor)).cursor is None


async def test_repos_are_listed_by_collection(fake_web: FakeWeb, host: SyncHost) -> None:
    where = url(host, "com.atproto.sync.listReposByCollection", "collection=fm.plyr.track&limit=1000")
    fake_web.pages[where] = json_page({"repos": [{"did": DID}], "cursor": ""})
    page = await host.list_repos_by_collection(Nsid("fm.plyr.track"))
    assert (page.repos, page.cursor) == ((ListedRepo(DID),), None)
    for spoilt in ({}, {"repos": {}}, {"repos": [], "cursor": 7}, {"repos": [], "cursor": "x" * 5000}):
        fake_web.pages[where] = json_page(spoilt)
        with pytest.raises(HostUnreachable):
            await host.list_repos_by_collection(Nsid("fm.plyr.track"))


async def test_a_repos_collections_are_described(fake_web: FakeWeb, host: SyncHost) -> None:
    where = url(host, "com.atproto.repo.describeRepo", f"repo={IN_URL}")
    fake_web.pages[where] = json_page({"did": DID, "collections": ["fm.plyr.track", "x", 3]})
    assert await host.describe_repo(DID) == ("fm.plyr.track",)
    fake_web.pages[where] = json_page({"did": "did:web:b.example", "collections": []})
    with pytest.raises(HostUnreachable):
        await host.describe_repo(DID)
