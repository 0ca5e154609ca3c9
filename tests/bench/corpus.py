"""The 150 real relay frames that the benches are made of, and the keys that signed them."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from tests.bench.children import ROOT

_FOLDER = Path("data") / "relay-2026-07-04"


class MissingCorpus(Exception):
    """The recorded relay frames are not there: they are read from `PLYR_SHARED`, else `../shared`."""


def folder() -> Path:
    """Where the corpus lies. Raises MissingCorpus."""
    shared = Path(os.environ.get("PLYR_SHARED") or ROOT.parent / "shared")
    found = shared / _FOLDER
    if not (found / "frames.bin.zst").exists():
        raise MissingCorpus(f"no {_FOLDER}/frames.bin.zst under {shared}: set PLYR_SHARED")
    return found


def frames() -> list[bytes]:
    """The recorded frames, in the order of the relay."""
    return list(_split(_unpacked("frames.bin.zst")))


def signing_keys() -> dict[str, str]:
    """did -> did:key of `#atproto`, from the recorded DID documents."""
    documents: dict[str, Any] = json.loads(_unpacked("did_docs.json.zst"))
    keys: dict[str, str] = {}
    for did, document in documents.items():
        for method in document["verificationMethod"]:
            if method["id"].endswith("#atproto"):
                keys[did] = f"did:key:{method['publicKeyMultibase']}"
                break
    return keys


def expected_operations() -> list[tuple[str, str, str, str, str, str | None]]:
    """(did, rev, action, collection, rkey, cid) of every operation, as another implementation saw them."""
    found: list[tuple[str, str, str, str, str, str | None]] = []
    for line in (folder() / "expected_v1.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "commit":
            op = event["commit"]
            found.append(
                (event["did"], op["rev"], op["operation"], op["collection"], op["rkey"], op.get("cid"))
            )
    return found


def _unpacked(name: str) -> bytes:
    with (folder() / name).open("rb") as packed:
        return zstandard.ZstdDecompressor().stream_reader(packed).read()


def _split(data: bytes) -> Iterator[bytes]:
    offset = 0
    while offset < len(data):
        (size,) = struct.unpack_from("<I", data, offset)
        yield data[offset + 4 : offset + 4 + size]
        offset += 4 + size
