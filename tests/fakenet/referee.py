"""Checks a record's proof with code that is not ours: atmst, cbrrr and the atproto SDK."""

from __future__ import annotations

import io
from typing import Any

from atmst.blockstore.car_file import ReadOnlyCARBlockStore
from atmst.mst.node_store import NodeStore
from atmst.mst.node_walker import NodeWalker
from atproto_crypto.verify import verify_signature
from cbrrr import decode_dag_cbor, encode_dag_cbor


class NotProven(Exception):
    """The CAR does not prove a record under that path."""


def proven(car: bytes, did: str, path: str, did_key: str) -> tuple[str, Any]:
    """Rev and record that `car` proves, from the signature down to the record's own bytes.

    Raises NotProven, or whatever the libraries raise where a block is missing or wrong.
    """
    blocks = ReadOnlyCARBlockStore(io.BytesIO(car))
    commit: Any = decode_dag_cbor(blocks.get_block(bytes(blocks.car_root)))
    signature = commit.pop("sig")
    if commit["did"] != did or commit["version"] != 3:
        raise NotProven("not a commit of that account")
    if not verify_signature(did_key, encode_dag_cbor(commit), signature):
        raise NotProven("not signed with that key")
    value = NodeWalker(NodeStore(blocks), commit["data"]).find_rpath(path)
    if value is None:
        raise NotProven("no such record in the tree")
    return commit["rev"], decode_dag_cbor(blocks.get_block(bytes(value)))
