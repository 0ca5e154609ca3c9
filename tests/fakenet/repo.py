"""A repo with a real key and a real tree, that writes commits as a PDS does. Deterministic by seed.

    repo = FakeRepo("did:plc:…", seed=1)
    body = repo.write([("create", "fm.plyr.track", "3k…", {…})], now_us=…)
    frame("#commit", body, seq=7)

Hostile variants are made from a good body: `edit_blocks`, `resign`, or a changed field.
"""

from __future__ import annotations

import copy
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import coincurve
import libipld
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from firehose.car import block_cid, read_car, write_car
from firehose.mst import EMPTY, EMPTY_NODE, Node, Tree, walk
from lexicons.syntax import tid_from_us

Curve = Literal["k256", "p256"]
Write = tuple[str, str, str, Mapping[str, Any] | None]

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
START_US = 1_783_175_888_000_000  # 2026-07-04T14:38:08Z


class SigningKey:
    """A private key of either curve, made from a seed, that signs as accounts do (low-S, 64 bytes)."""

    def __init__(self, seed: object, curve: Curve = "k256") -> None:
        secret = hashlib.sha256(f"signing key {seed}".encode()).digest()
        self.sign: Callable[[bytes], bytes]
        if curve == "k256":
            private = coincurve.PrivateKey(secret)
            self.sign = lambda message: private.sign_recoverable(message)[:64]
            prefix, point = b"\xe7\x01", private.public_key.format()
        else:
            scalar = int.from_bytes(secret, "big") % (_P256_ORDER - 1) + 1
            key = ec.derive_private_key(scalar, ec.SECP256R1())
            self.sign = lambda message: _sign_p256(key, message)
            prefix = b"\x80\x24"
            point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self.multibase = "z" + _base58(prefix + point)
        self.did_key = f"did:key:{self.multibase}"


def fake_did(seed: object) -> str:
    """A did:plc that nobody has, the same for the same seed."""
    digest = hashlib.sha256(f"did {seed}".encode()).digest()
    return "did:plc:" + "".join(_BASE32[byte & 31] for byte in digest[:24])


class FakeRepo:
    """One account's repo, all of its blocks in memory.

    `rev`, `data` and `commit` are the state after the last write; None before the first.
    """

    def __init__(
        self, did: str | None = None, seed: object = 0, *, curve: Curve = "k256", handle: str | None = None
    ) -> None:
        self.did = did or fake_did(seed)
        self.handle = handle or f"{self.did[-8:]}.test"
        self.key = SigningKey(seed, curve)
        self.rev: str | None = None
        self.commit: bytes | None = None
        self.data = EMPTY
        self.blocks: dict[bytes, bytes] = {EMPTY: EMPTY_NODE}
        self._tree = Tree(self.blocks, EMPTY)
        self._now_us = START_US

    def write(self, writes: Iterable[Write], now_us: int | None = None) -> dict[str, Any]:
        """Applies the writes and gives the body of their `#commit`, with the blocks that prove it.

        The rev is `now_us` as a TID, one microsecond after the last one where the clock stands still.
        """
        self._now_us = max(self._now_us + 1, now_us or 0)
        since, prev_data = self.rev, self.data
        ops: list[dict[str, Any]] = []
        records: dict[bytes, bytes] = {}
        for action, collection, rkey, record in writes:
            path = f"{collection}/{rkey}"
            ops.append(self._apply(action, path, record, records))
        blocks = self._seal() | self._proof([op["path"].encode() for op in ops]) | records
        commit = self._sign(blocks, str(tid_from_us(self._now_us, 0)))
        body: dict[str, Any] = {
            "seq": 0,
            "repo": self.did,
            "rev": self.rev,
            "since": since,
            "commit": commit,
            "ops": ops,
            "blocks": write_car(commit, blocks),
            "time": _time_text(self._now_us),
            "blobs": [],
            "rebase": False,
            "tooBig": False,
        }
        if since is not None:
            body["prevData"] = prev_data
        return body

    def get(self, collection: str, rkey: str) -> dict[str, Any] | None:
        """The record as it stands, None if there is none."""
        cid = self._tree.get(f"{collection}/{rkey}".encode())
        return None if cid is None else libipld.decode_dag_cbor(self.blocks[cid])

    def listing(self) -> list[tuple[str, bytes]]:
        """Path and CID of every record, in the tree's order."""
        return [(key.decode(), cid) for key, cid in walk(self.blocks, self.data)]

    def sync_body(self, now_us: int | None = None) -> dict[str, Any]:
        """The body of a `#sync` of the state as it stands."""
        assert self.commit is not None, "nothing was written yet"
        return {
            "seq": 0,
            "did": self.did,
            "rev": self.rev,
            "blocks": write_car(self.commit, {self.commit: self.blocks[self.commit]}),
            "time": _time_text(now_us or self._now_us),
        }

    def account_body(
        self, active: bool = True, status: str | None = None, now_us: int | None = None
    ) -> dict[str, Any]:
        """The body of an `#account`."""
        body = {"seq": 0, "did": self.did, "time": _time_text(now_us or self._now_us), "active": active}
        return body if status is None else {**body, "status": status}

    def identity_body(self, handle: str | None = None, now_us: int | None = None) -> dict[str, Any]:
        """The body of an `#identity`, without a handle unless one is given."""
        body = {"seq": 0, "did": self.did, "time": _time_text(now_us or self._now_us)}
        return body if handle is None else {**body, "handle": handle}

    def car(self) -> bytes:
        """The whole repo as `getRepo` gives it: commit first, then nodes and records."""
        assert self.commit is not None, "nothing was written yet"
        wanted = {self.commit: self.blocks[self.commit], self.data: self.blocks[self.data]}
        stack: list[tuple[bytes, int | None]] = [] if self.data == EMPTY else [(self.data, None)]
        while stack:
            cid, layer = stack.pop()
            wanted[cid] = self.blocks[cid]
            node = self._tree.node(cid, layer)
            wanted |= {val: self.blocks[val] for val in node.vals}
            stack += [(sub, node.layer - 1) for sub in node.subs if sub is not None]
        return write_car(self.commit, wanted)

    def did_doc(self, pds: str) -> dict[str, Any]:
        """The DID document that the directory would give."""
        return {
            "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
            "id": self.did,
            "alsoKnownAs": [f"at://{self.handle}"],
            "verificationMethod": [
                {
                    "id": f"{self.did}#atproto",
                    "type": "Multikey",
                    "controller": self.did,
                    "publicKeyMultibase": self.key.multibase,
                }
            ],
            "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}],
        }

    def frozen(self) -> FakeRepo:
        """The repo as it is now, whatever is written to this one later: what an old host keeps."""
        other = copy.copy(self)
        other._tree = Tree(other.blocks, other.data)
        return other

    def rotate_key(self, seed: object, curve: Curve = "k256") -> None:
        """What is written from now on is signed with another key."""
        self.key = SigningKey(seed, curve)

    def _apply(
        self, action: str, path: str, record: Mapping[str, Any] | None, records: dict[bytes, bytes]
    ) -> dict[str, Any]:
        key = path.encode()
        op: dict[str, Any] = {"action": action, "path": path, "cid": None}
        if record is not None:
            block = libipld.encode_dag_cbor(dict(record))
            op["cid"] = cid = block_cid(block)
            records[cid] = self.blocks[cid] = block
        if action == "create":
            self._tree.insert(key, op["cid"])
        elif action == "update":
            op["prev"] = self._tree.replace(key, op["cid"])
        else:
            op["prev"] = self._tree.remove(key)
        return op

    def _seal(self) -> dict[bytes, bytes]:
        """Keeps the nodes that are new since the last write, and gives them."""
        new: dict[bytes, bytes] = {}
        self.data = self._tree.root
        self._collect(self.data, None, new)
        if self.data == EMPTY:
            new[EMPTY] = EMPTY_NODE
        self.blocks |= new
        self._tree.fresh.clear()
        return new

    def _collect(self, cid: bytes, layer: int | None, new: dict[bytes, bytes]) -> None:
        """Puts into `new` the nodes of this write; below a node that was there before, all was."""
        raw = self._tree.fresh.get(cid)
        if raw is not None and cid not in self.blocks:
            new[cid] = raw
            node = self._tree.node(cid, layer)
            for sub in node.subs:
                if sub is not None:
                    self._collect(sub, node.layer - 1, new)

    def _proof(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The nodes on the way to each key, and to its neighbours on both sides (sync spec)."""
        proof: dict[bytes, bytes] = {}
        cids: set[bytes] = set()
        for key in keys:
            for way in (key, *self._neighbours(key)):
                cids.update(self._cids(way))
        for cid in cids:
            proof[cid] = self.blocks[cid]
        return dict(sorted(proof.items()))

    def _cids(self, key: bytes) -> Iterator[bytes]:
        """The CIDs of the nodes from the root to where `key` is or would be."""
        cid: bytes | None = self.data
        for node in self._tree.path(key):
            assert cid is not None
            yield cid
            cid = node.subs[bisect_left(node.keys, key)]

    def _neighbours(self, key: bytes) -> list[bytes]:
        """The keys before and after `key`, whether or not it is there itself."""
        before = after = None
        for node in self._tree.path(key):
            at = bisect_left(node.keys, key)
            here = key in node.keys[at : at + 1]
            before = node.keys[at - 1] if at else before
            after = node.keys[at + here] if at + here < len(node.keys) else after
            if here:
                before = self._edge(node, at, -1) or before
                after = self._edge(node, at + 1, 0) or after
        return [found for found in (before, after) if found is not None]

    def _edge(self, node: Node, at: int, end: int) -> bytes | None:
        """The last (-1) or first (0) key of a subtree."""
        edge = None
        sub = node.subs[at]
        while sub is not None:
            node = self._tree.node(sub, node.layer - 1)
            edge = node.keys[end] if node.keys else edge
            sub = node.subs[end]
        return edge

    def _sign(self, blocks: dict[bytes, bytes], rev: str) -> bytes:
        unsigned = {"did": self.did, "version": 3, "data": self.data, "rev": rev, "prev": None}
        block = signed_block(unsigned, self.key)
        cid = block_cid(block)
        rest = dict(blocks)
        blocks.clear()
        blocks[cid] = self.blocks[cid] = block
        blocks.update(rest)
        self.rev, self.commit = rev, cid
        return cid


def frame(kind: str, body: Mapping[str, Any], seq: int) -> bytes:
    """A message frame as it goes over the wire, with `seq` put in (`#info` carries none)."""
    payload = dict(body) if kind == "#info" else {**body, "seq": seq}
    return libipld.encode_dag_cbor({"t": kind, "op": 1}) + libipld.encode_dag_cbor(payload)


def error_frame(error: str, message: str | None = None) -> bytes:
    """The frame before the server closes."""
    body = {"error": error} if message is None else {"error": error, "message": message}
    return libipld.encode_dag_cbor({"op": -1}) + libipld.encode_dag_cbor(body)


def edit_blocks(body: Mapping[str, Any], edit: Callable[[dict[bytes, bytes]], object]) -> dict[str, Any]:
    """The same commit with its blocks changed by `edit`, their CIDs as `edit` leaves them."""
    car = read_car(body["blocks"])
    blocks = dict(car.blocks)
    edit(blocks)
    return {**body, "blocks": write_car(car.roots[0], blocks)}


def signed_block(unsigned: Mapping[str, Any], key: SigningKey) -> bytes:
    """The bytes of a commit object with its signature.

    libipld encodes bytes that look like a CID as a link, and one signature in some thousands does:
    it is put in afterwards.
    """
    no_sig = b"\xff" * 64
    return libipld.encode_dag_cbor({**unsigned, "sig": no_sig}).replace(
        no_sig, key.sign(libipld.encode_dag_cbor(dict(unsigned)))
    )


def resign(body: Mapping[str, Any], key: SigningKey, **changes: Any) -> dict[str, Any]:
    """The same commit with fields of the signed object changed, signed anew with `key`."""
    car = read_car(body["blocks"])
    blocks = dict(car.blocks)
    signed: dict[str, Any] = libipld.decode_dag_cbor(blocks.pop(car.roots[0]))
    unsigned = {name: value for name, value in {**signed, **changes}.items() if name != "sig"}
    block = signed_block(unsigned, key)
    cid = block_cid(block)
    return {**body, "commit": cid, "blocks": write_car(cid, {cid: block, **blocks})}


def _sign_p256(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    der = key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + min(s, _P256_ORDER - s).to_bytes(32, "big")


def _base58(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return text


def _time_text(us: int) -> str:
    return (
        datetime.fromtimestamp(us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
