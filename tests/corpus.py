"""The 150 real relay frames and what belongs to them, read once."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from firehose.capture import read_capture
from firehose.events import Frame
from firehose.frames import decode_frame
from firehose.keys import PublicKey

NOW_US = 1_783_175_900_000_000  # a few seconds after the frames were recorded


@dataclass(frozen=True)
class Corpus:
    """Raw frames in order, and each account's signing key."""

    folder: Path
    frames: list[bytes]
    keys: dict[str, PublicKey]

    @property
    def commits(self) -> list[tuple[bytes, dict[str, Any], PublicKey]]:
        """Raw frame, body and key of each `#commit`."""
        found: list[tuple[bytes, dict[str, Any], PublicKey]] = []
        for raw in self.frames:
            frame = decode_frame(raw)
            if isinstance(frame, Frame) and frame.type == "#commit":
                found.append((raw, frame.body, self.keys[frame.body["repo"]]))
        return found

    def expected(self) -> list[dict[str, Any]]:
        """The record operations as an independent implementation printed them."""
        lines: list[dict[str, Any]] = []
        for line in (self.folder / "expected_v1.jsonl").read_text().splitlines():
            event = json.loads(line)
            if event["kind"] == "commit":
                commit = event["commit"]
                lines.append(
                    {
                        "did": event["did"],
                        "rev": commit["rev"],
                        "collection": commit["collection"],
                        "rkey": commit["rkey"],
                        "action": commit["operation"],
                        "cid": commit.get("cid"),
                        "record": commit.get("record"),
                    }
                )
        assert Counter(line["action"] for line in lines) == {"create": 144, "update": 2, "delete": 4}
        return lines


def read_corpus(shared: Path) -> Corpus:
    """The corpus under the shared folder."""
    folder = shared / "data" / "relay-2026-07-04"
    with (folder / "frames.bin.zst").open("rb") as file:
        frames = list(read_capture(file))
    packed = (folder / "did_docs.json.zst").read_bytes()
    documents = json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(packed))
    keys = {
        did: PublicKey.parse(document["verificationMethod"][0]["publicKeyMultibase"])
        for did, document in documents.items()
    }
    return Corpus(folder, frames, keys)
