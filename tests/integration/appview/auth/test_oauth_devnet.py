"""The OAuth client with real authorization servers: those of the devnet's PDSs, their pages in plain HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import pytest_asyncio
from aiohttp import web

from appview.auth import scopes
from appview.auth.client_keys import ClientKey, ClientKeys
from appview.auth.grant import Credentials, Refusal, SignInFailed
from appview.auth.metadata import JWKS_PATH, METADATA_PATH, App, loopback_app, web_app
from appview.auth.oauth import OAuthClient
from firehose.identity import IdentityResolver
from firehose.net import GuardedClient
from lexicons.catalog import Catalog
from tests.devnet.network import Account, Devnet
from tests.devnet.person import Person

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

CATALOG = Catalog.load()
WISH = scopes.full("fm.plyr")
IN_OLDER_WORDS = scopes.expanded(WISH, CATALOG.definitions)
PUBLISHED = scopes.union(scopes.fallbacks(WISH, CATALOG.definitions))
TRACK = {
    "$type": "fm.plyr.track",
    "title": "Dawn",
    "artist": "Ada",
    "fileType": "mp3",
    "audioUrl": "https://audio.example.com/dawn.mp3",
    "createdAt": "2026-03-01T12:00:00.000Z",
}


@dataclass
class Stage:
    net: Devnet
    http: GuardedClient
    artist: Account  # on PDS 0
    listener: Account  # on PDS 1

    def client(self, app: App | None = None) -> OAuthClient:
        """A client without a memory of servers, identities and nonces, as after a start."""
        identities = IdentityResolver(
            self.http, self.net.plc_url, handle_resolvers=[self.net.control_url], refresh_interval_s=0
        )
        return OAuthClient(
            app or loopback_app(8000, PUBLISHED, name="plyr"), self.http, identities, CATALOG.definitions
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(devnet_packages: Path) -> AsyncIterator[Stage]:
    async with Devnet(pds=3) as net, GuardedClient(allow_loopback=True) as http:
        artist, listener = await net.accounts(["ada", "ben"])
        yield Stage(net, http, artist, listener)


async def signed_in(
    client: OAuthClient, account: Account, scope: str = WISH, *, name: str | None = None
) -> Credentials:
    url, flow = await client.begin(name or account.handle, scope)
    async with Person(account) as person:
        granted = await client.finish(flow, await person.consent(url))
    assert (granted.did, granted.handle) == (account.did, account.handle)
    return granted.credentials


async def put(
    client: OAuthClient, credentials: Credentials, collection: str, record: Mapping[str, Any]
) -> tuple[int, str | None, Credentials]:
    """Status and error name of a putRecord in the person's name."""
    body = {"repo": credentials.did, "collection": collection, "rkey": "3jui7kd54zh2y", "record": record}
    answer, credentials = await client.call_pds(
        credentials,
        "POST",
        "com.atproto.repo.putRecord",
        body=orjson.dumps(body),
        content_type="application/json",
    )
    return answer.status, orjson.loads(answer.body).get("error"), credentials


async def refused(client: OAuthClient, credentials: Credentials) -> Refusal:
    with pytest.raises(SignInFailed) as caught:
        await client.refresh(credentials)
    return caught.value.refusal


# -- the way of a grant


@pytest.mark.parametrize("name", ["handle", "did", "pds", "a handle copied from a page"])
async def test_a_person_signs_in_by_handle_did_or_server(stage: Stage, name: str) -> None:
    account = stage.artist
    typed = {
        "handle": account.handle,
        "did": account.did,
        "pds": stage.net.pds[0].url + "/",
        "a handle copied from a page": f" \u202a@{account.handle.upper()}\u202c ",
    }[name]
    client = stage.client()
    credentials = await signed_in(client, account, name=typed)
    assert credentials.pds == credentials.issuer == stage.net.pds[0].url
    await client.revoke(credentials)


async def test_a_grant_writes_refreshes_and_ends(stage: Stage) -> None:
    client = stage.client()
    first = await signed_in(client, stage.artist)
    status, _, first = await put(client, first, "fm.plyr.track", TRACK)
    assert status == 200
    assert [r.value for r in await stage.net.list_records(stage.artist, "fm.plyr.track")] == [TRACK]

    second = await client.refresh(first)
    assert second.access_token != first.access_token
    assert second.refresh_token != first.refresh_token
    assert (await put(client, second, "fm.plyr.track", TRACK))[0] == 200

    await client.revoke(second)
    answer, _ = await client.call_pds(second, "GET", "com.atproto.server.getSession")
    assert (answer.status, answer.invalid_token) == (401, True)
    assert await refused(client, second) is Refusal.GRANT_GONE


async def test_a_refresh_token_that_was_used_ends_the_grant(stage: Stage) -> None:
    client = stage.client()
    first = await signed_in(client, stage.artist)
    second = await client.refresh(first)
    assert await refused(client, first) is Refusal.GRANT_GONE
    assert await refused(client, second) is Refusal.GRANT_GONE


async def test_two_grants_of_one_person_live_and_end_apart(stage: Stage) -> None:
    client = stage.client()
    one, other = await signed_in(client, stage.artist), await signed_in(client, stage.artist)
    await client.revoke(one)
    assert (await put(client, other, "fm.plyr.track", TRACK))[0] == 200
    other = await client.refresh(other)
    assert (await put(client, other, "fm.plyr.track", TRACK))[0] == 200


async def test_an_answer_that_is_no_token_error_asks_for_no_refresh(stage: Stage) -> None:
    client = stage.client()
    credentials = await signed_in(client, stage.artist)
    answer, _ = await client.call_pds(credentials, "GET", "com.atproto.repo.getRecord")
    assert (answer.status, answer.invalid_token) == (400, False)
    broken = msgspec.structs.replace(credentials, access_token=credentials.access_token[:-6] + "AAAAAA")
    answer, _ = await client.call_pds(broken, "GET", "com.atproto.server.getSession")
    assert (answer.status, answer.invalid_token) == (401, True)


async def test_the_persons_no_comes_back_as_denied(stage: Stage) -> None:
    client = stage.client()
    url, flow = await client.begin(stage.artist.handle, WISH)
    async with Person(stage.artist) as person:
        params = await person.refuse(url)
    with pytest.raises(SignInFailed) as caught:
        await client.finish(flow, params)
    assert caught.value.refusal is Refusal.DENIED


async def test_a_code_is_good_once(stage: Stage) -> None:
    client = stage.client()
    url, flow = await client.begin(stage.artist.handle, WISH)
    async with Person(stage.artist) as person:
        params = await person.consent(url)
    credentials = (await client.finish(flow, params)).credentials
    with pytest.raises(SignInFailed) as caught:
        await client.finish(flow, params)
    assert caught.value.refusal is Refusal.SERVER_REFUSED
    assert await refused(client, credentials) is Refusal.GRANT_GONE  # its server ends what came of the code


async def test_somebody_else_at_the_same_server_is_the_wrong_account(stage: Stage) -> None:
    client = stage.client()
    other = await stage.net.account("eve", pds=0)
    url, flow = await client.begin(stage.artist.handle, WISH)
    async with Person(other) as person:
        params = await person.consent(url)
    with pytest.raises(SignInFailed) as caught:
        await client.finish(flow, params)
    assert caught.value.refusal is Refusal.WRONG_ACCOUNT


async def test_an_answer_of_another_server_is_refused_before_its_code_is_sent(stage: Stage) -> None:
    client = stage.client()
    _, here = await client.begin(stage.artist.handle, WISH)
    url, _ = await client.begin(stage.listener.handle, WISH)
    async with Person(stage.listener) as person:
        params = await person.consent(url)
    with pytest.raises(SignInFailed) as caught:
        await client.finish(here, params | {"state": here.state})
    assert caught.value.refusal is Refusal.WRONG_ISSUER


# -- scopes


async def test_a_server_that_cannot_read_our_permission_set_is_asked_for_its_content(stage: Stage) -> None:
    client = stage.client()
    _, flow = await client.begin(stage.artist.handle, "atproto include:fm.plyr.authFullApp blob:*/*")
    assert flow.scope == IN_OLDER_WORDS


async def test_no_scope_that_is_not_published_is_asked_for(stage: Stage) -> None:
    client = stage.client(loopback_app(8000, WISH, name="plyr"))
    with pytest.raises(SignInFailed) as caught:
        await client.begin(stage.artist.handle, WISH)
    assert (caught.value.refusal, "invalid_scope" in caught.value.detail) == (Refusal.SERVER_REFUSED, True)


async def test_granular_scopes_are_enforced(stage: Stage) -> None:
    client = stage.client(loopback_app(8000, "atproto repo:fm.plyr.track?action=create", name="plyr"))
    credentials = await signed_in(client, stage.listener, "atproto repo:fm.plyr.track?action=create")
    status, error, credentials = await put(client, credentials, "fm.plyr.like", {"$type": "fm.plyr.like"})
    assert (status, error) == (403, "ScopeMissingError")
    assert scopes.missing(credentials.scope, WISH, CATALOG.definitions) != []
    answer, _ = await client.call_pds(
        credentials, "POST", "com.atproto.repo.uploadBlob", body=b"a", content_type="audio/mpeg"
    )
    assert answer.status == 403


async def test_what_the_person_unticks_is_not_granted_and_seen_to_be_missing(stage: Stage) -> None:
    client = stage.client()
    url, flow = await client.begin(stage.artist.handle, WISH)
    async with Person(stage.artist) as person:
        params = await person.consent(url, scope="atproto repo:fm.plyr.track")
    granted = await client.finish(flow, params)
    assert scopes.covers(granted.credentials.scope, "repo:fm.plyr.track", CATALOG.definitions)
    assert {need.value for need in scopes.missing(granted.credentials.scope, WISH, CATALOG.definitions)} == {
        "fm.plyr.like",
        "fm.plyr.comment",
        "fm.plyr.list",
        "fm.plyr.actor.profile",
        "*/*",
    }


async def test_the_transitional_scope_covers_what_we_wish(stage: Stage) -> None:
    client = stage.client()
    credentials = await signed_in(client, stage.listener, f"atproto {scopes.GENERIC}")
    assert scopes.covers(credentials.scope, WISH, CATALOG.definitions)
    assert (await put(client, credentials, "fm.plyr.track", TRACK))[0] == 200


# -- the confidential client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def published(stage: Stage) -> AsyncIterator[App]:
    """A client whose documents the PDSs can fetch, with a key rotated out and the newest one before it."""
    keys = ClientKeys([ClientKey.make(), ClientKey.make()])
    app = web_app("https://app.plyr-test.dev", PUBLISHED, name="plyr", keys=keys)
    documents = {METADATA_PATH: app.document(), JWKS_PATH: keys.jwks()}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(documents[request.path])

    site = web.Application()
    for path in documents:
        site.router.add_get(path, answer)
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await stage.net.serve(app.uri, f"http://localhost:{runner.addresses[0][1]}")
    yield app
    await runner.cleanup()


async def test_a_confidential_client_signs_in_refreshes_and_revokes(stage: Stage, published: App) -> None:
    client = stage.client(published)
    credentials = await signed_in(client, stage.artist)
    assert published.keys is not None
    assert credentials.kid == published.keys.signing.kid
    assert (await put(client, credentials, "fm.plyr.track", TRACK))[0] == 200
    credentials = await client.refresh(credentials)
    await client.revoke(credentials)
    assert await refused(client, credentials) is Refusal.GRANT_GONE


async def test_a_grant_goes_on_with_the_key_that_it_was_made_with(stage: Stage, published: App) -> None:
    assert published.keys is not None
    newest, older = published.keys.all()
    earlier = web_app(published.uri, PUBLISHED, name="plyr", keys=ClientKeys([older]))
    credentials = await signed_in(stage.client(earlier), stage.artist)
    assert credentials.kid == older.kid

    rotated = stage.client(published)
    credentials = await rotated.refresh(credentials)
    assert credentials.kid == older.kid
    forgetful = stage.client(web_app(published.uri, PUBLISHED, name="plyr", keys=ClientKeys([newest])))
    assert await refused(forgetful, credentials) is Refusal.GRANT_GONE
    assert (await put(rotated, await rotated.refresh(credentials), "fm.plyr.track", TRACK))[0] == 200


async def test_nobody_without_the_key_is_this_client(stage: Stage, published: App) -> None:
    impostor = web_app(published.uri, PUBLISHED, name="plyr", keys=ClientKeys([ClientKey.make()]))
    with pytest.raises(SignInFailed) as caught:
        await stage.client(impostor).begin(stage.artist.handle, WISH)
    assert caught.value.refusal is Refusal.SERVER_REFUSED


# -- the permission set


async def test_the_published_permission_set_is_granted_and_enforced(stage: Stage, published: App) -> None:
    # On a PDS that nobody asked for it before: one remembers for minutes that there was none.
    authority = await stage.net.account("plyr", pds=2)
    newcomer = await stage.net.account("cyd", pds=2)
    schema = orjson.loads(Path("lexicons/fm/plyr/authFullApp.json").read_bytes())
    await stage.net.put(authority, "com.atproto.lexicon.schema", "fm.plyr.authFullApp", schema)
    await stage.net.speak_for_lexicons(authority)

    client = stage.client(published)
    url, flow = await client.begin(newcomer.handle, WISH)
    assert flow.scope == WISH
    async with Person(newcomer) as person:
        granted = await client.finish(flow, await person.consent(url))
        assert "Everything in plyr" in person.page
    credentials = granted.credentials
    assert scopes.covers(credentials.scope, WISH, CATALOG.definitions)
    assert (await put(client, credentials, "fm.plyr.track", TRACK))[0] == 200
    post = {"$type": "app.bsky.feed.post", "text": "no", "createdAt": "2026-03-01T12:00:00.000Z"}
    assert (await put(client, credentials, "app.bsky.feed.post", post))[:2] == (403, "ScopeMissingError")
    credentials = await client.refresh(credentials)
    assert scopes.covers(credentials.scope, WISH, CATALOG.definitions)
