"""Public keys of accounts (did:key, K-256 and P-256) and the one kind of signature we accept.

OpenSSL takes high-S signatures and any verifier given DER takes DER, so both are refused here
before a curve is touched (cryptography spec, "Signatures"; rule B5). Tokens alone may be signed
with high S: the network's own libraries take them (rule X7).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Protocol, cast

import coincurve
from coincurve import context, ecdsa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

_BASE58 = {
    char: value for value, char in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}
_K256_PREFIX = b"\xe7\x01"
_P256_PREFIX = b"\x80\x24"
_K256_HALF_ORDER = (0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2).to_bytes(
    32, "big"
)
_P256_HALF_ORDER = (0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2).to_bytes(
    32, "big"
)
_native = cast("Any", ecdsa)  # which holds the library and its cffi
_new = _native.ffi.new
_SIGNATURE = _native.ffi.typeof("secp256k1_ecdsa_signature *")
_parse_compact = _native.lib.secp256k1_ecdsa_signature_parse_compact
_verify = _native.lib.secp256k1_ecdsa_verify
_context = cast("Any", context).GLOBAL_CONTEXT.ctx
_ECDSA_SHA256 = ec.ECDSA(hashes.SHA256())


class BadKey(ValueError):
    """The text is no did:key with a compressed K-256 or P-256 point on its curve."""


class _Curve(Protocol):
    half_order: bytes
    jwt_alg: str

    def check(self, message: bytes, signature: bytes) -> bool: ...


class PublicKey:
    """A parsed key. Parsing costs as much as a tenth of a check: keep it by DID."""

    __slots__ = ("_curve", "did_key")

    def __init__(self, did_key: str, curve: _Curve) -> None:
        self.did_key = did_key
        self._curve = curve

    @classmethod
    def parse(cls, did_key: str) -> PublicKey:
        """The key of `did:key:z…`, or of the bare multibase text `z…` of a DID document."""
        prefix, point = _multikey(did_key.removeprefix("did:key:"))
        try:
            if prefix == _K256_PREFIX:
                return cls(did_key, _K256(point))
            if prefix == _P256_PREFIX:
                return cls(did_key, _P256(point))
        except ValueError as error:
            raise BadKey(f"not a point on its curve: {error}") from None
        raise BadKey("neither a K-256 nor a P-256 key")

    def verify(self, message: bytes, signature: bytes) -> bool:
        """True if `signature` (64 bytes r‖s, low-S) is this key's over sha-256 of `message`."""
        if len(signature) != 64:
            return False
        # equal lengths: comparing the bytes compares the numbers
        return signature[32:] <= self._curve.half_order and self._curve.check(message, signature)

    @property
    def jwt_alg(self) -> str:
        """The name of this key's signatures in JOSE: ES256K or ES256."""
        return self._curve.jwt_alg

    def verify_jwt(self, alg: str, message: bytes, signature: bytes) -> bool:
        """As `verify`, with either S: whoever sees one can write the other, which signs the same. `alg`: by
        which algorithm it says to be signed, which has to be this key's."""
        curve = self._curve
        if alg != curve.jwt_alg or len(signature) != 64:
            return False
        if signature[32:] > curve.half_order:
            order = 2 * int.from_bytes(curve.half_order, "big") + 1
            low = order - int.from_bytes(signature[32:], "big")
            if low <= 0:
                return False
            signature = signature[:32] + low.to_bytes(32, "big")
        return curve.check(message, signature)


class _K256:
    """libsecp256k1 as coincurve carries it. Its public API wants DER, which would have to be made
    from the compact form that we have, to be taken apart again: 2 µs of the 40 that a check costs."""

    half_order = _K256_HALF_ORDER
    jwt_alg = "ES256K"
    __slots__ = ("_point",)

    def __init__(self, point: bytes) -> None:
        self._point = cast("Any", coincurve.PublicKey(point)).public_key

    def check(self, message: bytes, signature: bytes) -> bool:
        parsed = _new(_SIGNATURE)
        if not _parse_compact(_context, parsed, signature):
            return False
        return _verify(_context, parsed, sha256(message).digest(), self._point) == 1


class _P256:
    half_order = _P256_HALF_ORDER
    jwt_alg = "ES256"
    __slots__ = ("_verify",)

    def __init__(self, point: bytes) -> None:
        self._verify = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point).verify

    def check(self, message: bytes, signature: bytes) -> bool:
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        der = encode_dss_signature(r, s)
        try:
            self._verify(der, message, _ECDSA_SHA256)
        except InvalidSignature:
            return False
        return True


def _multikey(text: str) -> tuple[bytes, bytes]:
    """Codec prefix and 33-byte point of base58btc multibase text."""
    if not text.startswith("z") or len(text) > 64:
        raise BadKey("not base58btc multibase")
    number = 0
    for char in text[1:]:
        value = _BASE58.get(char)
        if value is None:
            raise BadKey("not base58btc multibase")
        number = number * 58 + value
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) != 35 or data[2] not in (2, 3):
        raise BadKey("not a compressed point")
    return data[:2], data[2:]
