"""What a DID document claims: handle, signing key, PDS. Pure; the claims are not yet checked.

A document is foreign input: entries of an unexpected shape are passed over, as if absent, and
only a document that is not about the asked DID is refused (/specs/did; rules D1–D4, D6).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from firehose.address import is_loopback_host, is_public_hostname
from firehose.keys import BadKey, PublicKey
from lexicons.syntax import Did, Handle, is_atproto_did, is_handle

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
# The key types of before 2023 say the curve in their name, and hold the bare point.
_LEGACY_PREFIXES = {
    "EcdsaSecp256k1VerificationKey2019": b"\xe7\x01",
    "EcdsaSecp256r1VerificationKey2019": b"\x80\x24",
}
_NOT_REGISTRABLE = frozenset(
    ("alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test")
)
_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(?::([0-9]{1,5}))?/?", re.IGNORECASE)


class WrongDocument(ValueError):
    """The document is not a JSON object about the DID that was asked for."""


@dataclass(frozen=True, slots=True)
class Claims:
    """A DID document's first usable entry of each kind, None where there is none.

    `signing_key` is `did:key:z…`, `pds` an origin without a trailing slash, `handle` is
    lower-case and still has to resolve back to the DID.
    """

    did: Did
    handle: Handle | None
    pds: str | None
    signing_key: str | None


@dataclass(frozen=True, slots=True)
class LabelerClaims:
    """Where a labeler answers, as an origin, and its did:key for labels; None where the document has none."""

    endpoint: str | None
    label_key: str | None


def read_claims(did: Did, document: object, *, development: bool) -> Claims:
    """The claims of `document`. Raises `WrongDocument` if its `id` is another DID."""
    if not isinstance(document, dict):
        raise WrongDocument("not a JSON object")
    doc = cast(dict[str, Any], document)
    if doc.get("id") != did:
        raise WrongDocument(f"is about {str(doc.get('id'))[:100]!r}")
    return Claims(
        did=did,
        handle=_handle(doc, development),
        pds=_service(doc, did, "atproto_pds", "AtprotoPersonalDataServer", development),
        signing_key=_key(doc, did, "atproto"),
    )


def read_labeler(did: Did, document: object, *, development: bool) -> LabelerClaims:
    """What `document` says of a labeler. Raises `WrongDocument` if its `id` is another DID."""
    if not isinstance(document, dict):
        raise WrongDocument("not a JSON object")
    doc = cast(dict[str, Any], document)
    if doc.get("id") != did:
        raise WrongDocument(f"is about {str(doc.get('id'))[:100]!r}")
    return LabelerClaims(
        _service(doc, did, "atproto_labeler", "AtprotoLabeler", development), _key(doc, did, "atproto_label")
    )


def document_url(did: Did, plc_url: str, *, development: bool) -> str | None:
    """Where the document of a DID lies, or None for a DID that this network does not resolve."""
    if not is_atproto_did(did):
        return None
    method, name = did.split(":", 2)[1:]
    if method == "plc":
        return f"{plc_url.rstrip('/')}/{did}"
    if name == "localhost" or name.startswith("localhost%3A"):
        return f"http://{name.replace('%3A', ':')}/.well-known/did.json" if development else None
    if not is_public_hostname(name.lower()) or not has_usable_tld(name, development=development):
        return None
    return f"https://{name}/.well-known/did.json"


def has_usable_tld(name: str, *, development: bool) -> bool:
    """False for names that nobody can register (rule D6); `.test` is for development alone."""
    tld = name.rpartition(".")[2].lower()
    return tld not in _NOT_REGISTRABLE or (development and tld == "test")


def _handle(doc: dict[str, Any], development: bool) -> Handle | None:
    for alias in _items(doc, "alsoKnownAs"):
        if isinstance(alias, str) and alias.startswith("at://") and is_handle(alias[5:]):
            handle = Handle(alias[5:].lower())
            return handle if has_usable_tld(handle, development=development) else None
    return None


def _service(doc: dict[str, Any], did: Did, id_: str, type_: str, development: bool) -> str | None:
    for service in _objects(doc, "service"):
        if service.get("id") in (f"#{id_}", f"{did}#{id_}") and service.get("type") == type_:
            endpoint = service.get("serviceEndpoint")
            return _origin(endpoint, development) if isinstance(endpoint, str) else None
    return None


def _origin(url: str, development: bool) -> str | None:
    """The origin, if the URL is nothing more: no path, no user, no query; https but for loopback."""
    match = _ORIGIN.fullmatch(url)
    if match is None:
        return None
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    if port is not None and not 0 < int(port) < 65536:
        return None
    local = development and is_loopback_host(host)
    if not local and (scheme != "https" or not is_public_hostname(host)):
        return None
    return f"{scheme}://{host}" + (f":{port}" if port else "")


def _key(doc: dict[str, Any], did: Did, id_: str) -> str | None:
    for method in _objects(doc, "verificationMethod"):
        kind, text = method.get("type"), method.get("publicKeyMultibase")
        if (
            method.get("id") not in (f"#{id_}", f"{did}#{id_}")
            or method.get("controller") != did
            or not isinstance(kind, str)
            or not isinstance(text, str)
        ):
            continue
        if kind in _LEGACY_PREFIXES:
            text = _modern_key(text, _LEGACY_PREFIXES[kind])
        elif kind != "Multikey":
            continue
        if text is not None and _is_key(text):
            return f"did:key:{text}"
    return None


def _is_key(multibase: str) -> bool:
    try:
        PublicKey.parse(f"did:key:{multibase}")
    except BadKey:
        return False
    return True


def _modern_key(multibase: str, prefix: bytes) -> str | None:
    """The Multikey text of a bare point, compressed if it is not; None if it is no point's length."""
    if not multibase.startswith("z") or len(multibase) > 100:
        return None
    number = 0
    for char in multibase[1:]:
        if char not in _VALUES:
            return None
        number = number * 58 + _VALUES[char]
    point = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(point) == 65 and point[0] == 4:
        point = bytes((2 + (point[64] & 1),)) + point[1:33]
    if len(point) != 33:
        return None
    number = int.from_bytes(prefix + point, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    return "z" + "".join(reversed(digits))


def _items(doc: dict[str, Any], name: str) -> list[Any]:
    value = doc.get(name)
    return cast(list[Any], value) if isinstance(value, list) else []


def _objects(doc: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    return (cast(dict[str, Any], item) for item in _items(doc, name) if isinstance(item, dict))
