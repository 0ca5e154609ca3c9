"""The client with honest, strict servers: what is sent, what is remembered, and how a grant lives on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from appview.auth.client_keys import ClientKey, ClientKeys
from appview.auth.grant import Credentials, SignInFailed
from appview.auth.metadata import App, web_app
from appview.auth.scopes import GENERIC, expanded
from firehose.net import Streamed
from tests.fakenet.authserver import METADATA, PAR, RESOURCE, REVOKE, TOKEN, XRPC, Nonces
from tests.fakenet.http import Page
from tests.fakenet.server import Fault
from tests.unit.appview.auth.stage import ALICE, CATALOG, PUBLISHED, WISH, Stage

SESSION = "com.atproto.server.getSession"
UPLOAD = "com.atproto.repo.uploadBlob"


def forms(stage: Stage, path: str) -> list[dict[str, str]]:
    return [form for asked, form in stage.home.forms if asked == path]


def confidential(*keys: ClientKey) -> App:
    return web_app("https://plyr-test.dev", PUBLISHED, name="plyr", keys=ClientKeys(keys))


async def test_the_pushed_request_says_all_and_the_address_nothing(stage: Stage) -> None:
    url, flow = await stage.client.begin("@Alice.TEST", WISH, prompt="login")
    form = forms(stage, PAR)[-1]
    assert {name: form[name] for name in ("response_type", "scope", "state", "login_hint", "prompt")} == {
        "response_type": "code",
        "scope": WISH,
        "state": flow.state,
        "login_hint": "alice.test",
        "prompt": "login",
    }
    assert form["redirect_uri"] == stage.app.redirect_uri
    query = parse_qs(urlsplit(url).query)
    assert query.keys() == {"client_id", "request_uri"}
    assert query["client_id"] == [stage.app.client_id]


async def test_no_two_flows_share_a_secret(stage: Stage) -> None:
    (_, one), (_, other) = [await stage.client.begin("alice.test", WISH) for _ in range(2)]
    for name in ("state", "verifier", "dpop_key"):
        assert getattr(one, name) != getattr(other, name)


async def test_a_grant_is_of_who_asked_and_lives_as_long_as_the_server_says(stage: Stage) -> None:
    url, flow = await stage.begin()
    granted = await stage.client.finish(flow, stage.home.consent(url, ALICE))
    credentials = granted.credentials
    assert (granted.did, granted.handle, credentials.did) == (ALICE, "alice.test", ALICE)
    assert (credentials.issuer, credentials.pds, credentials.scope) == (stage.home.origin,) * 2 + (WISH,)
    assert credentials.expires_at is not None
    assert (await stage.client.call_pds(credentials, "GET", SESSION))[0].status == 200


async def test_who_begins_with_a_pds_or_with_its_server_may_be_anybody_there(stage: Stage) -> None:
    # Alice's PDS is `away`, whose authorization server is `home`: as at a host with many PDSs
    stage.settle(ALICE, "alice.test", stage.away.origin)
    stage.away.resource["authorization_servers"] = [stage.home.origin]
    stage.home.instead[RESOURCE] = Page(b"", 404)
    for typed in (stage.away.origin, stage.home.origin):
        url, flow = await stage.begin(typed)
        assert "login_hint" not in forms(stage, PAR)[-1]
        granted = await stage.client.finish(flow, stage.home.consent(url, ALICE))
        assert (granted.did, granted.credentials.pds) == (ALICE, stage.away.origin)


async def test_an_account_without_a_good_handle_signs_in_by_its_did(stage: Stage) -> None:
    stage.plc.handles.clear()
    url, flow = await stage.begin(ALICE)
    assert forms(stage, PAR)[-1]["login_hint"] == ALICE
    granted = await stage.client.finish(flow, stage.home.consent(url, ALICE))
    assert (granted.did, granted.handle) == (ALICE, None)


# -- scopes


async def test_older_servers_are_asked_in_older_words(stage: Stage) -> None:
    stage.home.known_scopes = frozenset(expanded(WISH, CATALOG.definitions).split())
    assert (await stage.begin())[1].scope == expanded(WISH, CATALOG.definitions)
    stage.home.known_scopes = frozenset({"atproto", GENERIC})
    url, flow = await stage.begin()
    assert flow.scope == f"atproto {GENERIC}"
    granted = await stage.client.finish(flow, stage.home.consent(url, ALICE))
    assert granted.credentials.scope == f"atproto {GENERIC}"


# -- nonces


async def test_a_nonce_that_changes_with_every_answer_is_followed(stage: Stage) -> None:
    stage.home.nonces = Nonces.ROTATING
    credentials = await stage.signed_in()
    for _ in range(3):
        answer, credentials = await stage.client.call_pds(credentials, "GET", SESSION)
        assert answer.status == 200
    await stage.client.refresh(credentials)
    assert {path: stage.home.asked[path] for path in (PAR, TOKEN, XRPC)} == {PAR: 2, TOKEN: 2, XRPC: 3}


async def test_a_nonce_that_is_out_of_date_costs_one_more_request(stage: Stage) -> None:
    credentials = msgspec.structs.replace(await stage.signed_in(), server_nonce="old", pds_nonce="old")
    asked = stage.home.asked.copy()
    answer, credentials = await stage.restarted().call_pds(credentials, "GET", SESSION)
    assert (answer.status, credentials.pds_nonce) == (200, "nonce-0")
    assert (await stage.restarted().refresh(credentials)).server_nonce == "nonce-0"
    assert (stage.home.asked - asked)[XRPC] == (stage.home.asked - asked)[TOKEN] == 2


async def test_a_streamed_body_is_begun_anew_where_the_nonce_was_out_of_date(stage: Stage) -> None:
    credentials = msgspec.structs.replace(await stage.signed_in(), pds_nonce="old")
    begun = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        yield b'{"a":'
        yield b"1}"

    answer, _ = await stage.restarted().call_pds(credentials, "POST", UPLOAD, body=Streamed(7, chunks))
    assert (answer.status, begun, stage.home.records[-1]) == (200, 2, {"a": 1})


async def test_after_a_restart_the_nonces_that_were_kept_save_the_first_refusal(stage: Stage) -> None:
    _, credentials = await stage.client.call_pds(await stage.signed_in(), "GET", SESSION)
    assert (credentials.server_nonce, credentials.pds_nonce) == ("nonce-0", "nonce-0")
    asked = stage.home.asked.copy()
    await stage.restarted().call_pds(credentials, "GET", SESSION)
    await stage.restarted().refresh(credentials)
    assert (stage.home.asked - asked)[XRPC] == (stage.home.asked - asked)[TOKEN] == 1


async def test_a_flow_keeps_its_nonce_over_a_restart(stage: Stage) -> None:
    url, flow = await stage.begin()
    await stage.restarted().finish(flow, stage.home.consent(url, ALICE))
    assert stage.home.asked[TOKEN] == 1


async def test_one_grants_nonce_serves_the_next_of_the_same_server(stage: Stage) -> None:
    await stage.begin()
    await stage.begin()
    assert stage.home.asked[PAR] == 3  # only the first was refused


# -- a grant's life


async def test_a_refresh_uses_up_its_token_and_keeps_the_rest(stage: Stage) -> None:
    before = await stage.signed_in()
    _, before = await stage.client.call_pds(before, "GET", SESSION)
    after = await stage.client.refresh(before)
    changed = {
        name for name in Credentials.__struct_fields__ if getattr(before, name) != getattr(after, name)
    }
    assert changed - {"expires_at"} == {"access_token", "refresh_token"}
    assert (await stage.client.call_pds(after, "GET", SESSION))[0].status == 200


async def test_a_server_that_renews_no_refresh_token_leaves_the_old_one_good(stage: Stage) -> None:
    before = await stage.signed_in()
    stage.home.edit[TOKEN] = lambda body: {k: v for k, v in body.items() if k != "refresh_token"}
    assert (await stage.client.refresh(before)).refresh_token == before.refresh_token


async def test_an_answer_without_a_lifetime_is_of_unknown_lifetime(stage: Stage) -> None:
    stage.home.edit[TOKEN] = lambda body: {k: v for k, v in body.items() if k != "expires_in"}
    assert (await stage.signed_in()).expires_at is None


async def test_a_refresh_needs_no_directory(stage: Stage) -> None:
    """Cannot tell never means moved (rule C6)."""
    credentials = await stage.signed_in()
    stage.plc.fail(Fault.UNAVAILABLE, f"/{ALICE}", times=9)
    renewed = await stage.restarted().refresh(credentials)
    assert renewed.access_token != credentials.access_token


async def test_an_account_that_moves_within_its_server_is_followed(stage: Stage) -> None:
    credentials = await stage.signed_in()
    stage.away.resource["authorization_servers"] = [stage.home.origin]
    stage.settle(ALICE, "alice.test", stage.away.origin)
    assert (await stage.restarted().refresh(credentials)).pds == stage.away.origin


async def test_a_refresh_under_a_shield_outlives_whoever_asked_for_it(stage: Stage) -> None:
    credentials = await stage.signed_in()
    refresh = asyncio.ensure_future(stage.client.refresh(credentials))
    caller = asyncio.ensure_future(asyncio.wait_for(asyncio.shield(refresh), 60))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (await refresh).access_token != credentials.access_token


async def test_an_end_that_the_server_does_not_offer_is_no_failure(stage: Stage) -> None:
    credentials = await stage.signed_in()
    del stage.home.metadata["revocation_endpoint"]
    await stage.restarted().revoke(credentials)
    assert stage.home.asked[REVOKE] == 0


async def test_only_an_invalid_token_asks_for_a_refresh(stage: Stage) -> None:
    credentials = await stage.signed_in()
    stale = msgspec.structs.replace(credentials, access_token="stale")
    answer, _ = await stage.client.call_pds(stale, "GET", SESSION)
    assert (answer.status, answer.invalid_token) == (401, True)
    for page, stale_token in (
        (Page(b'{"error":"invalid_token"}', 401), True),
        (Page(b"", 401, {"WWW-Authenticate": 'dpop error="invalid_token"'}), True),
        (Page(b"", 401, {"WWW-Authenticate": 'DPoP algs="ES256", error="invalid_token", x="y"'}), True),
        (Page(b"", 401, {"WWW-Authenticate": 'DPoP error="invalid_dpop_proof"'}), False),
        (Page(b"", 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}), False),
        (Page(b'{"error":"AuthMissing"}', 401), False),
        (Page(b'{"error":"invalid_token"}', 403), False),
        (Page(b"nothing", 401), False),
    ):
        stage.home.instead[XRPC] = page
        answer, _ = await stage.client.call_pds(credentials, "GET", SESSION)
        assert (answer.status, answer.invalid_token) == (page.status, stale_token)


# -- the confidential client


async def test_every_form_of_a_confidential_client_is_signed_anew(stage: Stage) -> None:
    """Also the second of two whose nonce was stale: the server would notice an assertion that it has seen."""
    stage.app = confidential(ClientKey.make())
    assert stage.app.keys is not None
    stage.home.jwks = stage.app.keys.jwks()
    stage.client = stage.restarted()
    credentials = await stage.client.refresh(await stage.signed_in())
    await stage.client.revoke(credentials)
    assert stage.home.asked[PAR] == 2
    assertions = [form["client_assertion"] for path in (PAR, TOKEN, REVOKE) for form in forms(stage, path)]
    assert len(set(assertions)) == len(assertions) == 5
    assert credentials.kid == stage.app.keys.signing.kid


async def test_a_grant_goes_on_with_its_key_after_a_rotation(stage: Stage) -> None:
    old, new = ClientKey.make(), ClientKey.make()
    stage.app = confidential(old)
    stage.home.jwks = ClientKeys([new, old]).jwks()
    stage.client = stage.restarted()
    credentials = await stage.signed_in()
    stage.client.app = confidential(new, old)
    assert (await stage.client.refresh(credentials)).kid == old.kid
    assert (await stage.signed_in()).kid == new.kid
    assert {form["client_id"] for form in forms(stage, TOKEN)} == {stage.app.client_id}


# -- what is asked how often


async def test_a_servers_documents_are_kept_but_an_account_is_looked_up_anew_each_time(
    stage: Stage,
) -> None:
    for _ in range(3):
        await stage.signed_in()
    assert stage.home.asked[METADATA] == 1
    assert stage.home.asked[RESOURCE] == 1 + 3
    assert stage.plc.asked[f"/{ALICE}", None] == 3 + 3


async def test_a_failure_is_not_remembered(stage: Stage) -> None:
    stage.home.instead[METADATA] = Page(b"", 503)
    with pytest.raises(SignInFailed):
        await stage.begin()
    del stage.home.instead[METADATA]
    await stage.begin()
