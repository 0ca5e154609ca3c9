"""Raw frames of a relay in a file, and the check of such a file without any network.

    file = zstd( [u32 little-endian length][frame] … ), in one zstd frame or in several

The writer ends a zstd frame at every flush: after a crash, all that was flushed can be read. The
reader gives every whole frame first and then says what is wrong with the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import zstandard

from firehose.commit import verify_commit, verify_sync
from firehose.events import Commit, ErrorFrame, Event, Frame, RecordOp, Sync
from firehose.frames import BadFrame, decode_frame
from firehose.keys import PublicKey
from firehose.message import CommitRejected, Reason, account_of, identity_of, info_of
from lexicons.datamodel import InvalidData, decode, to_json
from lexicons.syntax import Cid, Did, Rev

MAX_FRAME = 5_000_000
_CHUNK = 1 << 16


class CaptureTruncated(Exception):
    """The file ends in the middle of a frame; what came before it was whole."""


class CaptureCorrupt(Exception):
    """From here on the file is not what a capture holds; what came before it was whole."""


class CaptureWriter:
    """Appends frames to a binary file, compressed. `close` or the end of `with` completes it."""

    def __init__(self, file: BinaryIO, level: int = 10) -> None:
        self._file = file
        self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        self._part = self._compressor.compressobj()
        self._unflushed = 0

    def write(self, frame: bytes) -> None:
        """Adds one frame; it is safe on disk only after the next flush."""
        if not 0 < len(frame) <= MAX_FRAME:
            raise ValueError(f"a frame of {len(frame)} bytes")
        self._file.write(self._part.compress(len(frame).to_bytes(4, "little") + frame))
        self._unflushed += 1

    def flush(self) -> None:
        """Ends the zstd frame, so that the file can be read up to here whatever comes next."""
        if self._unflushed:
            self._file.write(self._part.flush())
            self._file.flush()
            self._part = self._compressor.compressobj()
            self._unflushed = 0

    def close(self) -> None:
        self.flush()
        self._file.close()

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_capture(file: BinaryIO) -> Iterator[bytes]:
    """The frames of a capture in order, then `CaptureTruncated` or `CaptureCorrupt` if it is not whole."""
    buffer = bytearray()
    whole = 0
    for text in _decompressed(file):
        buffer += text
        start = 0
        while len(buffer) - start >= 4:
            size = int.from_bytes(buffer[start : start + 4], "little")
            if not 0 < size <= MAX_FRAME:
                raise CaptureCorrupt(f"frame {whole + 1} has an impossible length of {size} bytes")
            if len(buffer) - start - 4 < size:
                break
            yield bytes(buffer[start + 4 : start + 4 + size])
            whole += 1
            start += 4 + size
        del buffer[:start]
    if buffer:
        raise CaptureTruncated(f"the file ends inside frame {whole + 1}")


def _decompressed(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of all zstd frames, one after the other."""
    part = None
    while data := file.read(_CHUNK):
        while data:
            part = part or zstandard.ZstdDecompressor().decompressobj()
            try:
                text = part.decompress(data)
            except zstandard.ZstdError as error:
                raise CaptureCorrupt(f"not zstd, or damaged: {error}") from None
            if text:
                yield text
            data = b""
            if part.eof:
                data, part = part.unused_data, None
    if part is not None:
        raise CaptureTruncated("the file ends inside its compressed data")


@dataclass(slots=True)
class Report:
    """What a capture holds. `failed` counts by reason; `verified` are commits that hold in every way."""

    frames: int = 0
    commits: int = 0
    verified: int = 0
    identity: int = 0
    account: int = 0
    sync: int = 0
    info: int = 0
    error: int = 0
    failed: Counter[Reason] = field(default_factory=Counter[Reason])


Verdict = Event | ErrorFrame | Frame | CommitRejected


class CaptureCheck:
    """Checks frames one by one and keeps count in `report`; knows the keys and no network.

    Beyond each commit's own proof, a DID's next commit must continue the last one (rules B7, B8):
    newer `rev`, `since` its rev, `prevData` its data; the first one seen has nothing to continue.
    """

    def __init__(self, keys: Mapping[Did, PublicKey], now_us: int) -> None:
        self._keys = keys
        self._now_us = now_us
        self._heads: dict[Did, tuple[Rev, Cid]] = {}
        self.report = Report()

    def check(self, raw: bytes) -> Verdict:
        """The verified event, or why it is none. A frame of unknown type comes back as it is."""
        self.report.frames += 1
        try:
            frame = decode_frame(raw)
            if isinstance(frame, ErrorFrame):
                self.report.error += 1
                return frame
            return self._event(frame)
        except BadFrame as error:
            rejected = CommitRejected(Reason.BAD_FRAME, error.reason)
        except CommitRejected as error:
            rejected = error
        self.report.failed[rejected.reason] += 1
        return rejected

    def _event(self, frame: Frame) -> Event | Frame:
        report, body = self.report, frame.body
        match frame.type:
            case "#commit":
                report.commits += 1
                commit = verify_commit(body, self._key(body.get("repo")), self._now_us)
                self._continue(commit)
                report.verified += 1
                return commit
            case "#sync":
                report.sync += 1
                sync = verify_sync(body, self._key(body.get("did")), self._now_us)
                self._continue(sync)
                return sync
            case "#identity":
                report.identity += 1
                return identity_of(body)
            case "#account":
                report.account += 1
                return account_of(body)
            case "#info":
                report.info += 1
                return info_of(body)
            case _:
                return frame

    def _continue(self, event: Commit | Sync) -> None:
        head = self._heads.get(event.did)
        if head == (event.rev, event.data) and isinstance(event, Sync):
            return
        if head is not None and event.rev <= head[0]:
            raise CommitRejected(Reason.OLD_REV, f"{event.did} was at {head[0]} already")
        self._heads[event.did] = (event.rev, event.data)
        if head is not None and isinstance(event, Commit) and (event.since, event.prev_data) != head:
            raise CommitRejected(
                Reason.CHAIN_GAP, f"{event.did} goes on from {event.since}, was at {head[0]}"
            )

    def _key(self, did: object) -> PublicKey:
        key = self._keys.get(Did(did)) if isinstance(did, str) else None
        if key is None:
            raise CommitRejected(Reason.NO_KEY, f"no signing key for {did}")
        return key


def record_line(commit: Commit, op: RecordOp) -> dict[str, Any]:
    """One record operation as JSON values; `record` is None for a delete.

    A record that is no valid data comes as None with the reason under `invalid`: the operation
    is proven, the record is nothing that JSON could show.
    """
    line: dict[str, Any] = {
        "did": commit.did,
        "rev": commit.rev,
        "collection": op.collection,
        "rkey": op.rkey,
        "action": op.action.value,
        "cid": op.cid,
        "record": None,
    }
    if op.block is not None:
        try:
            line["record"] = to_json(decode(op.block))
        except InvalidData as error:
            line["invalid"] = str(error)
    return line
