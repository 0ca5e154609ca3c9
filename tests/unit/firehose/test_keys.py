"""Keys and signatures: the published vectors, and what other libraries let through (rule B5, trap T39)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import coincurve
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from firehose.keys import BadKey, PublicKey
from tests.fakenet.repo import Curve, SigningKey

ORDER = {
    "k256": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "p256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}
CURVES: list[Curve] = ["k256", "p256"]


def unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def crypto(shared: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((shared / "data" / "interop" / "crypto" / name).read_text())


def test_the_published_signatures_are_judged_as_published(shared: Path) -> None:
    cases = crypto(shared, "signature-fixtures.json")
    assert len(cases) == 6
    for case in cases:
        key = PublicKey.parse(case["publicKeyDid"])
        message, signature = unpadded(case["messageBase64"]), unpadded(case["signatureBase64"])
        assert key.verify(message, signature) is case["validSignature"], case["comment"]


def test_published_private_keys_have_the_published_did_key(shared: Path) -> None:
    vectors = crypto(shared, "w3c_didkey_K256.json")
    assert len(vectors) == 5
    for vector in vectors:
        private = coincurve.PrivateKey(bytes.fromhex(vector["privateKeyBytesHex"]))
        key = PublicKey.parse(vector["publicDidKey"])
        assert key.verify(b"hello", private.sign_recoverable(b"hello")[:64])
        assert not key.verify(b"hullo", private.sign_recoverable(b"hello")[:64])


def test_the_published_p256_key_is_parsed_to_its_point(shared: Path) -> None:
    (vector,) = crypto(shared, "w3c_didkey_P256.json")
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    scalar = 0
    for char in vector["privateKeyBytesBase58"]:
        scalar = scalar * 58 + alphabet.index(char)
    public = ec.derive_private_key(scalar, ec.SECP256R1()).public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    key = PublicKey.parse(vector["publicDidKey"])
    number = 0
    for char in key.did_key.removeprefix("did:key:z"):
        number = number * 58 + alphabet.index(char)
    assert number.to_bytes(35, "big") == b"\x80\x24" + point


@pytest.mark.parametrize("curve", CURVES)
def test_a_key_takes_its_own_signature_alone(curve: Curve) -> None:
    mine, other = SigningKey(1, curve), SigningKey(2, curve)
    signature = mine.sign(b"message")
    assert PublicKey.parse(mine.did_key).verify(b"message", signature)
    assert PublicKey.parse(mine.multibase).verify(b"message", signature)
    assert not PublicKey.parse(other.did_key).verify(b"message", signature)
    assert not PublicKey.parse(mine.did_key).verify(b"massage", signature)


@pytest.mark.parametrize("curve", CURVES)
def test_t39_high_s_is_refused(curve: Curve) -> None:
    private = SigningKey(1, curve)
    key = PublicKey.parse(private.did_key)
    signature = private.sign(b"message")
    s = int.from_bytes(signature[32:], "big")
    high = signature[:32] + (ORDER[curve] - s).to_bytes(32, "big")
    assert key.verify(b"message", signature)
    assert not key.verify(b"message", high)


@pytest.mark.parametrize("curve", CURVES)
def test_only_64_bytes_are_a_signature(curve: Curve) -> None:
    private = SigningKey(1, curve)
    key = PublicKey.parse(private.did_key)
    signature = private.sign(b"message")
    r, s = signature[:32].lstrip(b"\0"), signature[32:].lstrip(b"\0")
    r, s = (b"\0" + part if part[0] > 127 else part for part in (r, s))
    der = b"\x30" + bytes((4 + len(r) + len(s), 2, len(r))) + r + b"\x02" + bytes((len(s),)) + s
    for wrong in (der, b"", signature[:63], signature + b"\0", signature + b"\x01"):
        assert not key.verify(b"message", wrong)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (0, 0), (2**256 - 1, 1), (1, 2**256 - 1)], ids=str)
def test_numbers_outside_the_curves_order_are_refused(curve: Curve, r: int, s: int) -> None:
    key = PublicKey.parse(SigningKey(1, curve).did_key)
    assert not key.verify(b"message", r.to_bytes(32, "big") + s.to_bytes(32, "big"))


@pytest.mark.parametrize("curve", CURVES)
def test_no_flipped_bit_of_a_signature_passes(curve: Curve) -> None:
    private = SigningKey(3, curve)
    key = PublicKey.parse(private.did_key)
    signature = private.sign(b"message")
    for at in range(64):
        damaged = signature[:at] + bytes((signature[at] ^ 1 << at % 8,)) + signature[at + 1 :]
        assert not key.verify(b"message", damaged)


@pytest.mark.parametrize("curve", CURVES)
def test_many_signatures_of_short_numbers_are_taken(curve: Curve) -> None:
    # about one in 256 has a leading zero byte in r or s, which DER leaves out
    private = SigningKey(4, curve)
    key = PublicKey.parse(private.did_key)
    short = 0
    for n in range(1500):
        message = n.to_bytes(4, "big")
        signature = private.sign(message)
        if 0 in (signature[0], signature[32]):
            short += 1
            assert key.verify(message, signature)
    assert short > 2


GOOD = SigningKey(1).multibase


@pytest.mark.parametrize(
    "text",
    [
        "",
        "z",
        "did:key:",
        "did:key:z",
        GOOD[1:],
        "m" + GOOD[1:],
        GOOD + "\n",
        GOOD[:-1] + "0",
        GOOD[:-1],
        GOOD + "1" * 200,
        "did:web:example.com",
        "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
        "zQ3sh11111111111111111111111111111111111111111111",
    ],
)
def test_what_is_no_k256_or_p256_key_is_refused(text: str) -> None:
    with pytest.raises(BadKey):
        PublicKey.parse(text)


@pytest.mark.parametrize("curve", CURVES)
def test_a_token_may_be_signed_with_either_s(curve: Curve) -> None:
    private = SigningKey("token", curve)
    key = PublicKey.parse(private.did_key)
    signature = private.sign(b"hello")
    high = ORDER[curve] - int.from_bytes(signature[32:], "big")
    other = signature[:32] + high.to_bytes(32, "big")
    assert key.jwt_alg == {"k256": "ES256K", "p256": "ES256"}[curve]
    for each in (signature, other):
        assert key.verify_jwt(key.jwt_alg, b"hello", each)
        assert not key.verify_jwt(key.jwt_alg, b"hullo", each)
        assert not key.verify_jwt("none", b"hello", each)
    assert not key.verify(b"hello", other)
    beyond = signature[:32] + (ORDER[curve] + 1).to_bytes(32, "big")
    for bad in (b"", signature[:63], signature + b"\0", signature[:32] + b"\xff" * 32, beyond):
        assert not key.verify_jwt(key.jwt_alg, b"hello", bad)
    assert not key.verify_jwt(key.jwt_alg, b"hello", signature[:32] + ORDER[curve].to_bytes(32, "big"))
