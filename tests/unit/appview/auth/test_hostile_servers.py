"""What people type, and what servers say before anybody is sent to them, in order to harm.

Every case is arranged on real servers, and ends in its named refusal.
"""

from __future__ import annotations

import gzip

import pytest

from appview.auth.grant import Refusal
from firehose.net import GuardedClient
from tests.fakenet.authserver import METADATA, PAR, RESOURCE, Nonces
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
    edits,
    fails,
    metadata,
    names,
    nonces,
    refused,
    resource,
    sends_away,
    settled,
    without,
)
from tests.unit.appview.auth.stage import ALICE, MALLORY, WISH, Stage

R = Refusal
BOMB = Page(gzip.compress(bytes(32_000_000)), 200, {"Content-Encoding": "gzip"})


# -- what a person types

TYPED = {
    "": R.BAD_INPUT,
    "alice": R.BAD_INPUT,
    "alice.test.": R.BAD_INPUT,
    "alice.internal": R.BAD_INPUT,
    "alice..test": R.BAD_INPUT,
    "alice@pds.example.com": R.BAD_INPUT,
    "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme": R.BAD_INPUT,
    "did:plc:short": R.BAD_INPUT,
    "did:web:127.0.0.1": R.BAD_INPUT,
    "did:web:169.254.169.254": R.BAD_INPUT,
    "did:web:2130706433": R.BAD_INPUT,
    "did:web:0x7f000001": R.BAD_INPUT,
    "did:web:0177.0.0.1": R.BAD_INPUT,
    "did:web:127.1": R.BAD_INPUT,
    "did:web:example.com.": R.BAD_INPUT,
    "did:web:example.com%3A8443": R.BAD_INPUT,
    "did:web:user%40169.254.169.254": R.BAD_INPUT,
    "did:web:example.com%2F..%2F": R.BAD_INPUT,
    "did:web:example.com:path": R.BAD_INPUT,
    "did:web:[::ffff:127.0.0.1]": R.BAD_INPUT,
    "did:web:%5B%3A%3A1%5D": R.BAD_INPUT,
    "did:web:metadata": R.BAD_INPUT,
    "did:web:pds.internal": R.UNKNOWN_ACCOUNT,
    "https://2130706433": R.BLOCKED,
    "https://0x7f000001": R.BLOCKED,
    "https://127.1": R.BLOCKED,
    "https://10.0.0.7": R.BLOCKED,
    "https://[::ffff:127.0.0.1]": R.BLOCKED,
    "https://[::ffff:7f00:1]": R.BLOCKED,
    "https://[64:ff9b::7f00:1]": R.BLOCKED,
    "https://example.com.": R.BLOCKED,
    "https://example.com%40169.254.169.254": R.BLOCKED,
    "https://user@example.com": R.BLOCKED,
    "https://example.com:8443": R.BLOCKED,
    "http://example.com": R.BLOCKED,
    "https://example.com#@localhost": R.BLOCKED,
    "https://example.com\\@localhost": R.BLOCKED,
    "https://example.com/profile/alice.test": R.BAD_INPUT,
    "https://as.plyr-test.dev": R.BLOCKED,
    "javascript:alert(1)": R.BAD_INPUT,
    "a" * 600 + ".test": R.BAD_INPUT,
}


@pytest.mark.parametrize("typed", TYPED)
async def test_what_is_no_name_and_no_public_server_goes_nowhere(stage: Stage, typed: str) -> None:
    stage.names.table["as.plyr-test.dev"] = [("10.0.0.7", None)]
    assert await refused(stage, stage.client.begin(typed, WISH)) is TYPED[typed]
    assert stage.home.forms == []
    assert stage.plc.asked == {}


@pytest.mark.parametrize(
    "typed",
    ["http://localhost:2583", "http://127.0.0.1", "https://pds.localhost", "did:web:localhost%3A2583"],
)
async def test_only_a_developer_goes_to_loopback(stage: Stage, typed: str) -> None:
    async with GuardedClient(resolver=stage.names) as http:
        refusal = await refused(stage, stage.restarted(http=http).begin(typed, WISH))
    assert refusal is (R.UNKNOWN_ACCOUNT if typed.startswith("did:") else R.BLOCKED)


# -- before anybody is sent anywhere

LOOK_UP: Table = {
    "the handle leads nowhere": (R.UNKNOWN_ACCOUNT, lambda s: s.plc.handles.clear()),
    "the account goes by another handle": (R.UNKNOWN_ACCOUNT, settled(handle="al.test")),
    "the account goes by no handle": (R.UNKNOWN_ACCOUNT, settled(handle=None)),
    "the handle leads to nonsense": (
        R.UNKNOWN_ACCOUNT,
        lambda s: s.plc.handles.update({"alice.test": "did:web:127.0.0.1"}),
    ),
    "the DID is unknown": (R.UNKNOWN_ACCOUNT, lambda s: s.plc.docs.clear()),
    "the DID was given up": (R.UNKNOWN_ACCOUNT, lambda s: s.plc.tombstone(ALICE)),
    "the document is another DID's": (R.UNREACHABLE, settled(did=MALLORY)),
    "the account has no PDS": (R.UNKNOWN_ACCOUNT, settled(pds=None)),
    "its PDS is a private address": (R.UNKNOWN_ACCOUNT, settled(pds=PRIVATE)),
    "its PDS's name leads to a private address": (R.BLOCKED, settled(pds=INSIDE)),
    "its PDS does not exist": (R.UNREACHABLE, settled(pds="https://gone.plyr-test.dev")),
    "the directory is down": (R.UNREACHABLE, lambda s: s.plc.fail(Fault.UNAVAILABLE, f"/{ALICE}")),
}

RESOURCES: Table = {
    "the PDS names no server": (R.NO_SERVER, answers(RESOURCE, Page(b"", 404))),
    "the PDS names an empty list": (R.NO_SERVER, names()),
    "the PDS names two servers": (R.NO_SERVER, names("{home}", "{away}")),
    "the PDS names no text": (R.NO_SERVER, names({})),
    "the PDS speaks for another resource": (R.BAD_SERVER, resource(resource="{away}")),
    "the server's name has a path": (R.BAD_SERVER, names("{home}/tenant")),
    "the server's name ends with a slash": (R.BAD_SERVER, names("{home}/")),
    "the server is a private address": (R.BLOCKED, names(PRIVATE)),
    "the server is a decimal address": (R.BLOCKED, names("https://2130706433")),
    "the server's name ends with a dot": (R.BLOCKED, names("https://example.com.")),
    "the server's name leads to a private address": (R.BLOCKED, names(INSIDE)),
    "the PDS's document redirects inside": (R.BAD_SERVER, answers(RESOURCE, redirect(PRIVATE))),
    "the PDS's document is a page": (R.BAD_SERVER, answers(RESOURCE, HTML)),
    "the PDS's document is a list": (R.BAD_SERVER, answers(RESOURCE, json_page([]))),
    "the PDS's document has no end": (R.BAD_SERVER, answers(RESOURCE, endless)),
    "the PDS's document is a bomb": (R.BAD_SERVER, answers(RESOURCE, BOMB)),
    "the PDS's document trickles": (R.UNREACHABLE, drags(RESOURCE, slow)),
    "the PDS says nothing": (R.UNREACHABLE, drags(RESOURCE, silent)),
    "the PDS is busy": (R.UNREACHABLE, answers(RESOURCE, BUSY)),
}

SERVERS: Table = {
    "the server is busy": (R.UNREACHABLE, answers(METADATA, BUSY)),
    "the server is down": (R.UNREACHABLE, answers(METADATA, DOWN)),
    "the server has no metadata": (R.BAD_SERVER, answers(METADATA, Page(b"", 404))),
    "the metadata redirect inside": (
        R.BAD_SERVER,
        answers(METADATA, redirect("http://169.254.169.254/latest/")),
    ),
    "the metadata have no end": (R.BAD_SERVER, answers(METADATA, endless)),
    "the metadata trickle": (R.UNREACHABLE, drags(METADATA, slow)),
    "the metadata are a page": (R.BAD_SERVER, answers(METADATA, HTML)),
    "the issuer is another": (R.BAD_SERVER, metadata(issuer="{away}")),
    "the issuer has a slash": (R.BAD_SERVER, metadata(issuer="{home}/")),
    "the issuer is no text": (R.BAD_SERVER, metadata(issuer=None)),
    "unsigned assertions are taken": (
        R.BAD_SERVER,
        metadata(token_endpoint_auth_signing_alg_values_supported=["ES256", "none"]),
    ),
    "request_uris need not be registered": (R.BAD_SERVER, metadata(require_request_uri_registration=False)),
    "pushing a request is not required": (
        R.BAD_SERVER,
        metadata(require_pushed_authorization_requests=False),
    ),
    "answers may come without issuer": (
        R.BAD_SERVER,
        metadata(authorization_response_iss_parameter_supported="true"),
    ),
    "the plain challenge alone": (R.BAD_SERVER, metadata(code_challenge_methods_supported=["plain"])),
    "a list is a text": (R.BAD_SERVER, metadata(scopes_supported="atproto")),
    "the token endpoint is a private address": (R.BLOCKED, metadata(token_endpoint=PRIVATE + "/token")),
    "the person would be sent to a script": (
        R.BLOCKED,
        metadata(authorization_endpoint="javascript:alert(1)"),
    ),
    "the person would be sent to a private address": (R.BLOCKED, metadata(authorization_endpoint=PRIVATE)),
    "the request's address leads to a private address": (
        R.BLOCKED,
        metadata(pushed_authorization_request_endpoint=INSIDE + "/par"),
    ),
} | {
    f"{name} is missing": (R.BAD_SERVER, without(name))
    for name in (
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "pushed_authorization_request_endpoint",
        "response_types_supported",
        "grant_types_supported",
        "code_challenge_methods_supported",
        "token_endpoint_auth_methods_supported",
        "token_endpoint_auth_signing_alg_values_supported",
        "dpop_signing_alg_values_supported",
        "scopes_supported",
        "authorization_response_iss_parameter_supported",
        "require_pushed_authorization_requests",
        "client_id_metadata_document_supported",
    )
}

REQUESTS: Table = {
    "the request is answered with a page": (R.BAD_SERVER, answers(PAR, HTML)),
    "the request is answered with nothing in it": (R.BAD_SERVER, edits(PAR, request_uri=None)),
    "the request is answered without an end": (R.BAD_SERVER, answers(PAR, endless)),
    "the request is answered too slowly": (R.UNREACHABLE, drags(PAR, slow)),
    "the request is to be sent elsewhere": (R.BAD_SERVER, sends_away(PAR)),
    "the client is refused": (R.SERVER_REFUSED, fails(PAR, "invalid_client", 401)),
    "no scope is good": (R.SERVER_REFUSED, fails(PAR, "invalid_scope", 400)),
    "the server repeats the request": (R.SERVER_REFUSED, answers(PAR, echo)),
    "the answer is garbled": (R.UNREACHABLE, answers(PAR, garbled)),
    "the server fails": (R.UNREACHABLE, fails(PAR, "server_error", 500)),
    "no nonce is ever right": (R.BAD_NONCE, nonces(Nonces.NEVER_RIGHT)),
    "the nonce stays wrong": (R.BAD_NONCE, nonces(Nonces.STUBBORN)),
    "there is no nonce": (R.BAD_SERVER, nonces(Nonces.NONE)),
}

BEGIN = {"": LOOK_UP, RESOURCE: RESOURCES, METADATA: SERVERS, PAR: REQUESTS}


@pytest.mark.parametrize(("path", "name"), [(path, name) for path in BEGIN for name in BEGIN[path]])
async def test_nobody_is_sent_anywhere_if(stage: Stage, path: str, name: str) -> None:
    refusal, arrange = BEGIN[path][name]
    stage.names.table["as.plyr-test.dev"] = [("10.0.0.7", None)]
    arrange(stage)
    assert await refused(stage, stage.begin()) is refusal
    assert stage.home.asked[path] > 0 or path == ""
    assert stage.away.forms == []
