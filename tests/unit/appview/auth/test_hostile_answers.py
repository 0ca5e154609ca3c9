"""What others send back in order to harm: with the person, for a code, at a refresh, from a PDS.

Every case is arranged on real servers, and ends in its named refusal.
"""

from __future__ import annotations

import msgspec
import pytest

from appview.auth.client_keys import ClientKey, ClientKeys
from appview.auth.grant import Refusal
from appview.auth.metadata import web_app
from tests.fakenet.authserver import RESOURCE, REVOKE, TOKEN, XRPC, Nonces
from tests.fakenet.http import Page, json_page, redirect
from tests.fakenet.misdeeds import HTML, echo, endless, garbled, silent, slow
from tests.fakenet.server import Fault
from tests.unit.appview.auth.cases import (
    BUSY,
    DOWN,
    INSIDE,
    PRIVATE,
    Table,
    answers,
    drags,
    drops,
    edits,
    fails,
    names,
    nonces,
    refused,
    sends_away,
    settled,
)
from tests.unit.appview.auth.stage import ALICE, MALLORY, PUBLISHED, WISH, Stage

R = Refusal


# -- when they come back


async def test_a_state_that_is_not_this_flows_is_unknown(stage: Stage) -> None:
    url, flow = await stage.begin()
    params = stage.home.consent(url, ALICE)
    for state in ({"state": "x"}, {"state": ""}, {"state": flow.state + "\0"}, {"state": "\ud800"}):
        assert await refused(stage, stage.client.finish(flow, params | state)) is R.UNKNOWN_STATE
    assert await refused(stage, stage.client.finish(flow, {"code": params["code"]})) is R.UNKNOWN_STATE
    assert stage.home.asked[TOKEN] == 0


CALLBACK = {
    "of another issuer": (R.WRONG_ISSUER, {"iss": "http://localhost:1"}),
    "with a slash after the issuer": (R.WRONG_ISSUER, {"iss": "/"}),
    "without an issuer": (R.WRONG_ISSUER, {"iss": None}),
    "with an error of another issuer": (R.WRONG_ISSUER, {"iss": "x", "error": "access_denied"}),
    "that says no": (R.DENIED, {"error": "access_denied"}),
    "with an error of the standards": (R.SERVER_REFUSED, {"error": "server_error"}),
    "with an error of its own, and our code in it": (R.SERVER_REFUSED, {"error": "code"}),
    "with neither a code nor an error": (R.SERVER_REFUSED, {"code": None}),
    "with an empty code": (R.SERVER_REFUSED, {"code": ""}),
}


@pytest.mark.parametrize("name", CALLBACK)
async def test_no_code_is_sent_after_a_callback(stage: Stage, name: str) -> None:
    refusal, changes = CALLBACK[name]
    url, flow = await stage.begin()
    params = stage.home.consent(url, ALICE)
    if changes.get("iss") == "/":
        changes = {"iss": stage.home.origin + "/"}
    if changes.get("error") == "code":
        changes = {"error": params["code"]}
    changed = {key: value for key, value in (params | changes).items() if value is not None}
    assert await refused(stage, stage.client.finish(flow, changed)) is refusal
    assert stage.home.asked[TOKEN] == 0


async def test_a_code_that_is_used_up_is_refused(stage: Stage) -> None:
    url, flow = await stage.begin()
    params = stage.home.consent(url, ALICE)
    await stage.client.finish(flow, params)
    assert await refused(stage, stage.client.finish(flow, params)) is R.SERVER_REFUSED


async def test_a_code_of_somebody_elses_flow_is_refused(stage: Stage) -> None:
    theirs, _ = await stage.client.begin("alice.test", WISH)
    stolen = stage.home.consent(theirs, ALICE)["code"]
    url, flow = await stage.begin()
    params = stage.home.consent(url, ALICE) | {"code": stolen}
    assert await refused(stage, stage.client.finish(flow, params)) is R.SERVER_REFUSED


async def test_mix_up_an_honest_servers_code_is_not_sent_to_a_hostile_one(stage: Stage) -> None:
    """Mallory's server sends people on to Alice's, in the hope for a code that was given there."""
    stage.away.metadata["authorization_endpoint"] = stage.home.metadata["authorization_endpoint"]
    alices, _ = await stage.client.begin("alice.test", WISH)
    _, flow = await stage.begin("mallory.test")
    params = stage.home.consent(alices, ALICE) | {"state": flow.state}
    assert await refused(stage, stage.client.finish(flow, params)) is R.WRONG_ISSUER
    assert stage.away.asked[TOKEN] == 0


TOKENS: Table = {
    "not bound to a key": (R.BAD_TOKEN, edits(TOKEN, token_type="Bearer")),
    "of no type": (R.BAD_TOKEN, drops(TOKEN, "token_type")),
    "without a token": (R.BAD_TOKEN, drops(TOKEN, "access_token")),
    "with a token that breaks a header": (R.BAD_TOKEN, edits(TOKEN, access_token="a\r\nX: y")),
    "with a token of a megabyte": (R.BAD_SERVER, edits(TOKEN, access_token="a" * 1_000_000)),
    "with a token that is a number": (R.BAD_TOKEN, edits(TOKEN, access_token=7)),
    "with a refresh token that is none": (R.BAD_TOKEN, edits(TOKEN, refresh_token=["a"])),
    "of nobody": (R.BAD_TOKEN, drops(TOKEN, "sub")),
    "of no DID": (R.BAD_TOKEN, edits(TOKEN, sub="alice.test")),
    "of a DID inside": (R.BAD_TOKEN, edits(TOKEN, sub="did:web:127.0.0.1")),
    "of a DID with a port": (R.BAD_TOKEN, edits(TOKEN, sub="did:web:example.com%3A22")),
    "of somebody else": (R.WRONG_ACCOUNT, edits(TOKEN, sub=MALLORY)),
    "of an unknown scope": (R.BAD_TOKEN, drops(TOKEN, "scope")),
    "without the scope atproto": (R.WRONG_SCOPE, edits(TOKEN, scope="transition:generic")),
    "with a scope that only looks like atproto": (R.WRONG_SCOPE, edits(TOKEN, scope="atproto2 xatproto")),
    "with a scope of more words than anybody reads": (
        R.BAD_TOKEN,
        edits(TOKEN, scope="atproto" + " repo:a.b.c" * 1000),
    ),
    "that lives for no time": (R.BAD_TOKEN, edits(TOKEN, expires_in=-1)),
    "that lives for ever": (R.BAD_TOKEN, edits(TOKEN, expires_in=1e300)),
    "that lives for a word": (R.BAD_TOKEN, edits(TOKEN, expires_in="soon")),
    "that is a page": (R.BAD_TOKEN, answers(TOKEN, HTML)),
    "that is a list": (R.BAD_TOKEN, answers(TOKEN, json_page([{}]))),
    "to be fetched elsewhere": (R.BAD_TOKEN, sends_away(TOKEN)),
    "without an end": (R.BAD_SERVER, answers(TOKEN, endless)),
    "that trickles": (R.UNREACHABLE, drags(TOKEN, slow)),
    "that does not come": (R.UNREACHABLE, drags(TOKEN, silent)),
    "that is garbled": (R.UNREACHABLE, answers(TOKEN, garbled)),
    "that repeats what was sent": (R.SERVER_REFUSED, answers(TOKEN, echo)),
    "with status 429": (R.UNREACHABLE, answers(TOKEN, BUSY)),
    "with status 503": (R.UNREACHABLE, answers(TOKEN, DOWN)),
    "with an internal error": (R.UNREACHABLE, fails(TOKEN, "server_error", 500)),
    "that refuses the client": (R.SERVER_REFUSED, fails(TOKEN, "invalid_client", 401)),
    "whose nonce is never right": (R.BAD_NONCE, nonces(Nonces.NEVER_RIGHT)),
    "whose nonce stays wrong": (R.BAD_NONCE, nonces(Nonces.STUBBORN)),
}


@pytest.mark.parametrize("name", TOKENS)
async def test_no_grant_comes_of_a_token_answer(stage: Stage, name: str) -> None:
    refusal, arrange = TOKENS[name]
    url, flow = await stage.begin()
    params = stage.home.consent(url, ALICE)
    arrange(stage)
    assert await refused(stage, stage.client.finish(flow, params)) is refusal
    assert stage.home.asked[TOKEN] >= 1
    assert stage.away.forms == []


MEANWHILE: Table = {
    "moved to another server": (R.WRONG_ISSUER, settled(pds="{away}")),
    "got another server at its PDS": (R.WRONG_ISSUER, names("{away}")),
    "got a PDS without a server": (R.NO_SERVER, answers(RESOURCE, Page(b"", 404))),
    "was given up": (R.UNKNOWN_ACCOUNT, lambda s: s.plc.tombstone(ALICE)),
    "cannot be looked up": (R.UNREACHABLE, lambda s: s.plc.fail(Fault.UNAVAILABLE, f"/{ALICE}")),
}


@pytest.mark.parametrize("name", MEANWHILE)
async def test_a_grant_is_given_back_if_the_account_meanwhile(stage: Stage, name: str) -> None:
    refusal, arrange = MEANWHILE[name]
    url, flow = await stage.begin()
    params = stage.home.consent(url, ALICE)
    arrange(stage)
    assert await refused(stage, stage.client.finish(flow, params)) is refusal
    assert len(stage.home.revoked) == 1


async def test_a_server_speaks_for_nobody_who_lives_elsewhere(stage: Stage) -> None:
    """Mallory signs in by the address of her server, which then says that she is Alice."""
    url, flow = await stage.begin(stage.away.origin)
    assert flow.did is None
    params = stage.away.consent(url, ALICE)
    assert await refused(stage, stage.client.finish(flow, params)) is R.WRONG_ISSUER
    assert len(stage.away.revoked) == 1


async def test_a_server_that_takes_nothing_back_changes_no_refusal(stage: Stage) -> None:
    url, flow = await stage.begin()
    params = stage.home.consent(url, MALLORY)
    stage.home.instead[REVOKE] = echo
    assert await refused(stage, stage.client.finish(flow, params)) is R.WRONG_ACCOUNT
    assert stage.home.asked[REVOKE] == 1


# -- later

REFRESH: Table = {
    "was revoked": (R.GRANT_GONE, fails(TOKEN, "invalid_grant", 400)),
    "comes back as somebody else's": (R.WRONG_ACCOUNT, edits(TOKEN, sub=MALLORY)),
    "comes back unbound": (R.BAD_TOKEN, edits(TOKEN, token_type="bearer")),
    "comes back without atproto": (R.WRONG_SCOPE, edits(TOKEN, scope="transition:generic")),
    "meets a page": (R.BAD_TOKEN, answers(TOKEN, HTML)),
    "meets an overload": (R.UNREACHABLE, answers(TOKEN, BUSY)),
    "meets an outage": (R.UNREACHABLE, answers(TOKEN, DOWN)),
    "meets a temporary error with status 400": (R.UNREACHABLE, fails(TOKEN, "temporarily_unavailable", 400)),
    "meets silence": (R.UNREACHABLE, drags(TOKEN, silent)),
    "meets an endless answer": (R.BAD_SERVER, answers(TOKEN, endless)),
    "is repeated": (R.SERVER_REFUSED, answers(TOKEN, echo)),
    "is garbled": (R.UNREACHABLE, answers(TOKEN, garbled)),
    "finds its client unknown": (R.SERVER_REFUSED, fails(TOKEN, "invalid_client", 401)),
    "never has the right nonce": (R.BAD_NONCE, nonces(Nonces.NEVER_RIGHT)),
}


@pytest.mark.parametrize("name", REFRESH)
async def test_nothing_is_renewed_if_a_grant(stage: Stage, name: str) -> None:
    refusal, arrange = REFRESH[name]
    credentials = await stage.signed_in()
    arrange(stage)
    asked = stage.home.asked[TOKEN]
    assert await refused(stage, stage.client.refresh(credentials)) is refusal
    assert stage.home.asked[TOKEN] > asked
    assert stage.away.forms == []


async def test_a_grant_ends_when_the_account_moves_to_another_server(stage: Stage) -> None:
    credentials = await stage.signed_in()
    stage.settle(ALICE, "alice.test", stage.away.origin)
    asked = stage.home.asked[TOKEN]
    assert await refused(stage, stage.restarted().refresh(credentials)) is R.GRANT_GONE
    assert stage.home.asked[TOKEN] == asked


async def test_a_grant_without_a_refresh_token_ends_with_its_access_token(stage: Stage) -> None:
    credentials = msgspec.structs.replace(await stage.signed_in(), refresh_token=None)
    assert await refused(stage, stage.client.refresh(credentials)) is R.GRANT_GONE


async def test_a_grant_whose_client_key_is_gone_is_gone(stage: Stage) -> None:
    credentials = msgspec.structs.replace(await stage.signed_in(), kid="lost")
    stage.app = web_app("https://plyr-test.dev", PUBLISHED, name="plyr", keys=ClientKeys([ClientKey.make()]))
    assert await refused(stage, stage.restarted(stage.app).refresh(credentials)) is R.GRANT_GONE


CALLS: Table = {
    "wants a nonce and gives none that is right": (R.BAD_NONCE, nonces(Nonces.NEVER_RIGHT)),
    "says nothing": (R.UNREACHABLE, drags(XRPC, silent)),
    "trickles": (R.UNREACHABLE, drags(XRPC, slow)),
    "does not end": (R.BAD_SERVER, answers(XRPC, endless)),
    "is garbled": (R.UNREACHABLE, answers(XRPC, garbled)),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_has_no_answer_if_the_pds(stage: Stage, name: str) -> None:
    refusal, arrange = CALLS[name]
    credentials = await stage.signed_in()
    arrange(stage)
    call = stage.client.call_pds(credentials, "POST", "com.atproto.repo.putRecord", body=b"{}")
    assert await refused(stage, call) is refusal


@pytest.mark.parametrize("pds", [PRIVATE, INSIDE, "https://2130706433", "http://example.com"])
async def test_a_token_goes_to_no_address_that_we_do_not_go_to(stage: Stage, pds: str) -> None:
    stage.names.table["as.plyr-test.dev"] = [("10.0.0.7", None)]
    credentials = msgspec.structs.replace(await stage.signed_in(), pds=pds)
    assert (
        await refused(stage, stage.client.call_pds(credentials, "GET", "com.atproto.server.getSession"))
        is R.BLOCKED
    )


async def test_a_token_follows_no_redirect(stage: Stage) -> None:
    credentials = await stage.signed_in()
    stage.home.instead[XRPC] = redirect(stage.away.origin + "/xrpc/x", 307)
    answer, _ = await stage.client.call_pds(credentials, "GET", "com.atproto.server.getSession")
    assert answer.status == 307
    assert stage.away.forms == []
