"""Proofs, assertions and the documents that we publish, taken apart by somebody else's library."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, KeySet

from appview.auth import dpop
from appview.auth.client_keys import BadClientKey, ClientKey, ClientKeys
from appview.auth.metadata import NoClient, app_at, loopback_app, web_app
from appview.auth.scopes import full

NOW = 1_795_867_200.75
SCOPE = full("fm.plyr")


def taken_apart(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a proof whose signature is its own key's."""
    header = jws.extract_compact(token.encode()).protected
    key = ECKey.import_key(header["jwk"])
    return header, jwt.decode(token, key, algorithms=["ES256"]).claims


# -- proofs


def test_a_proof_is_over_method_address_time_and_nothing_secret() -> None:
    key = dpop.make_key()
    header, claims = taken_apart(dpop.proof(key, "POST", "https://as.example/token", now=NOW))
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    assert header["jwk"].keys() == {"kty", "crv", "x", "y"}
    assert {name: claims[name] for name in claims if name != "jti"} == {
        "htm": "POST",
        "htu": "https://as.example/token",
        "iat": 1_795_867_200,
    }


def test_a_proof_has_the_nonce_and_the_tokens_hash_when_there_are_any() -> None:
    _, claims = taken_apart(
        dpop.proof(dpop.make_key(), "GET", "https://a.example/", now=NOW, nonce="n", access_token="token")
    )
    assert claims["nonce"] == "n"
    assert claims["ath"] == urlsafe_b64encode(sha256(b"token").digest()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("url", "htu"),
    [
        ("https://a.example/x?y=z", "https://a.example/x"),
        ("https://a.example/x#y", "https://a.example/x"),
        ("https://a.example", "https://a.example/"),
        ("http://localhost:2583/xrpc/a.b.c?x=%3F", "http://localhost:2583/xrpc/a.b.c"),
    ],
)
def test_a_proof_names_the_address_without_query_and_fragment(url: str, htu: str) -> None:
    _, claims = taken_apart(dpop.proof(dpop.make_key(), "GET", url, now=NOW))
    assert claims["htu"] == htu


def test_no_two_proofs_and_no_two_keys_are_alike() -> None:
    key = dpop.make_key()
    ids = {taken_apart(dpop.proof(key, "GET", "https://a.example/", now=NOW))[1]["jti"] for _ in range(20)}
    assert len(ids) == 20
    assert dpop.make_key() != key


@settings(deadline=None)
@given(st.text(max_size=40))
def test_what_is_sent_back_as_a_nonce_fits_a_header(text: str) -> None:
    assert not dpop.is_nonce(text) or all("!" <= char <= "~" or char == " " for char in text)


@pytest.mark.parametrize("text", ["", "a\r\nb", "a\0", "é", 'a"b', "x" * 2000])
def test_what_is_no_nonce(text: str) -> None:
    assert not dpop.is_nonce(text)


# -- client keys


def test_an_assertion_says_who_we_are_to_one_server_for_a_minute() -> None:
    key = ClientKey.make()
    token = key.assertion("https://plyr.example/client.json", "https://as.example", now=NOW)
    known = KeySet.import_key_set(ClientKeys([key]).jwks())  # type: ignore[arg-type]
    decoded = jwt.decode(token, known, algorithms=["ES256"])
    assert decoded.header == {"typ": "JWT", "alg": "ES256", "kid": key.kid}
    assert {name: decoded.claims[name] for name in decoded.claims if name != "jti"} == {
        "iss": "https://plyr.example/client.json",
        "sub": "https://plyr.example/client.json",
        "aud": "https://as.example",
        "iat": 1_795_867_200,
        "exp": 1_795_867_260,
    }


def test_no_two_assertions_are_alike_and_none_is_of_another_key() -> None:
    key, other = ClientKey.make(), ClientKey.make()
    tokens = {key.assertion("c", "s", now=NOW) for _ in range(20)}
    assert len(tokens) == 20
    with pytest.raises(BadSignatureError):
        jwt.decode(tokens.pop(), ECKey.import_key(other.public()), algorithms=["ES256"])


def test_what_is_published_are_public_halves_of_all_keys_newest_first() -> None:
    newest, older = ClientKey.make(), ClientKey.make()
    keys = ClientKeys([newest, older])
    published = keys.jwks()["keys"]
    assert keys.signing is newest
    assert [key["kid"] for key in published] == [newest.kid, older.kid]
    for key in published:
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (keys.find(older.kid), keys.find("lost")) == (older, None)


def test_a_key_comes_back_from_its_text_with_its_name() -> None:
    key = ClientKey.make()
    assert ClientKey.load(key.secret) == key
    named = orjson.loads(key.secret) | {"kid": "of-2026"}
    assert ClientKey.load(orjson.dumps(named)).kid == "of-2026"


def test_a_key_shows_no_secret() -> None:
    key = ClientKey.make()
    secret = orjson.loads(key.secret)["d"]
    assert secret not in repr(key) + str(ClientKeys([key]).jwks())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"kty":"oct","k":"c2VjcmV0"}',
        '{"kty":"EC","crv":"P-256","x":"a","y":"b","d":"secret"}',
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadClientKey) as caught:
        ClientKey.load(text)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_neither_a_public_half_nor_another_curve_is_a_client_key() -> None:
    for key in (
        ECKey.generate_key("P-384", private=True).as_dict(private=True),
        ECKey.generate_key("P-256", private=True).as_dict(private=False),
    ):
        with pytest.raises(BadClientKey):
            ClientKey.load(orjson.dumps(key))


def test_a_confidential_client_without_keys_does_not_exist() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        ClientKeys([])


# -- the client's documents


def test_the_document_of_a_confidential_client() -> None:
    keys = ClientKeys([ClientKey.make()])
    app = web_app("https://plyr.example/", SCOPE, name="plyr", keys=keys)
    assert app.document() == {
        "client_id": "https://plyr.example/oauth-client-metadata.json",
        "client_name": "plyr",
        "client_uri": "https://plyr.example",
        "application_type": "web",
        "redirect_uris": ["https://plyr.example/auth/callback"],
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": "atproto include:fm.plyr.authFullApp blob:*/*",
        "dpop_bound_access_tokens": True,
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks_uri": "https://plyr.example/.well-known/jwks.json",
    }


def test_a_client_without_keys_is_public_and_says_so() -> None:
    document = web_app("https://plyr.example", SCOPE, name="plyr", keys=None).document()
    assert document["token_endpoint_auth_method"] == "none"
    assert "jwks_uri" not in document


@pytest.mark.parametrize(
    "url",
    [
        "http://plyr.example",
        "https://plyr.example:8443",
        "https://plyr.example/app",
        "https://user@plyr.example",
        "https://127.0.0.1",
        "https://localhost",
        "https://Plyr.example",
        "",
    ],
)
def test_no_web_client_lies_elsewhere_than_at_an_https_origin_without_a_port(url: str) -> None:
    with pytest.raises(NoClient):
        web_app(url, SCOPE, name="plyr", keys=None)


def test_a_loopback_clients_id_says_what_no_document_can() -> None:
    app = loopback_app(8000, SCOPE, name="plyr")
    assert app.client_id.startswith("http://localhost?")
    assert parse_qs(urlsplit(app.client_id).query) == {
        "redirect_uri": ["http://127.0.0.1:8000/auth/callback"],
        "scope": [SCOPE],
    }
    assert app.keys is None


@pytest.mark.parametrize(
    ("url", "redirect_uri"),
    [
        ("https://plyr.example", "https://plyr.example/auth/callback"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/auth/callback"),
        ("http://localhost:8001/", "http://127.0.0.1:8001/auth/callback"),
    ],
)
def test_the_client_fits_where_we_are_reached(url: str, redirect_uri: str) -> None:
    keys = ClientKeys([ClientKey.make()])
    assert app_at(url, SCOPE, name="plyr", keys=keys).redirect_uri == redirect_uri


@pytest.mark.parametrize("url", ["http://plyr.example", "http://10.0.0.1:8000", "ftp://localhost"])
def test_from_where_nobody_can_sign_in(url: str) -> None:
    with pytest.raises(NoClient):
        app_at(url, SCOPE, name="plyr", keys=None)
