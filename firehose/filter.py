"""Which frames concern us, decided before any CAR is touched.

A commit of an account that we track always does, with or without our records in it, because its
sync state must advance with every commit (rule B14). A stranger's does if a record path names one
of our collections exactly: `fm.plyr.trackfoo` and `fm.plyr.dev.track` are not `fm.plyr.track`.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

from libipld import decode_dag_cbor_multi

from firehose.events import ErrorFrame, Frame
from firehose.frames import MAX_SEQ, decode_frame, seq_of
from lexicons.syntax import Did, Nsid

_COMMIT_HEADER = b"\xa2atg#commitbop\x01"

# The front of a commit frame behind its header (15 bytes) and the head of its body (1 byte).
_ONE_OP = b"cops\x81\xa3ccid\xd8\x2aX\x25\x00"  # one operation of three members, first a link of 36 bytes
_PATH = b"dpath"
_CREATED = b"faction\x66createcrev\x6d"  # the operation's end, and a rev of 13 characters
_SEQ = b"cseq\x1b"  # of 8 bytes
_REPO = b"drepox\x20"  # of 32 characters, as every did:plc has


class Interest:
    """Our collections, and the accounts that we track (a live set: the caller adds to it).

    `forgotten` are those that asked not to be known here, by the sha-256 of their DIDs. What they say
    is passed by as if it were nothing to us.

    A malformed commit is wanted by the same rule, as far as it can be read: it is then refused with
    a reason, which goes on record where it concerns us.
    """

    __slots__ = ("_prefixes", "_raw_prefixes", "collections", "forgotten", "tracked")

    def __init__(self, collections: frozenset[Nsid], tracked: set[Did]) -> None:
        self.collections = collections
        self.tracked = tracked
        self.forgotten: set[bytes] = set()
        self._prefixes = tuple(f"{nsid}/" for nsid in collections)
        self._raw_prefixes = tuple(prefix.encode() for prefix in self._prefixes)

    def wants(self, frame: Frame) -> bool:
        """True for commits with our records or of tracked accounts, for the other events of tracked
        accounts, and for every `#info`. Unknown types are never wanted."""
        body = frame.body
        kind = frame.type
        if kind == "#commit":
            repo = body.get("repo")
            if type(repo) is str and repo in self.tracked:
                return True
            try:
                for op in body["ops"]:
                    if op["path"].startswith(self._prefixes):
                        return True
            except (KeyError, TypeError, AttributeError):
                return _may_be_ours(body, self._prefixes)
            return False
        if kind in ("#identity", "#account", "#sync"):
            did = body.get("did")
            return type(did) is str and did in self.tracked
        return kind == "#info"

    def forgets(self, frame: Frame) -> bool:
        """True if the frame is about somebody who asked to be forgotten."""
        if not self.forgotten:
            return False
        did = frame.body.get("repo", frame.body.get("did"))
        return isinstance(did, str) and hashlib.sha256(did.encode()).digest() in self.forgotten

    def sift(self, raw: bytes) -> tuple[int | None, Frame | ErrorFrame | None]:
        """The seq of the frame in `raw`, and the frame itself if it concerns us; raises `BadFrame`.

        The same as `decode_frame` and `wants`, with the strangers' commits, which are nearly all
        there is, sorted out before a frame is made of them. The catch: what is broken behind the
        front of one of these is not noticed.
        """
        seq = self._seq_of_a_strangers_record(raw)
        if seq is not None:
            return seq, None
        if raw.startswith(_COMMIT_HEADER):
            try:
                _, body = decode_dag_cbor_multi(raw)
                seq = body["seq"]
                if type(seq) is int and 0 <= seq <= MAX_SEQ and body["repo"] not in self.tracked:
                    for op in body["ops"]:
                        if op["path"].startswith(self._prefixes):
                            break
                    else:
                        return seq, None
            except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
                pass  # odd in some way: the plain way says what it is
        frame = decode_frame(raw)
        if isinstance(frame, ErrorFrame) or self.wants(frame):
            return seq_of(frame), frame
        return seq_of(frame), None

    def _seq_of_a_strangers_record(self, raw: bytes) -> int | None:
        """The seq of a commit that creates one record, not of ours, in a repo that we don't track.

        Nine of ten frames are that, in canonical encoding: header, `ops` of one operation, `rev`, `seq`,
        `repo`, each where the lengths before it put it. Where exactly these bytes stand there, nothing
        needs decoding; None where anything differs. No byte is searched for, so nothing that an author
        writes can pass for another field.
        """
        if (
            len(raw) < 200
            or not raw.startswith(_COMMIT_HEADER)
            or raw[16:31] != _ONE_OP
            or raw[67:72] != _PATH
        ):
            return None
        size = raw[72]
        if size == 0x78:
            start = 74
            end = start + raw[73]
        elif 0x60 < size < 0x78:
            start = 73
            end = start + size - 0x60
        else:
            return None
        if (
            raw[end : end + 19] != _CREATED
            or raw[end + 32 : end + 37] != _SEQ
            or raw[end + 45 : end + 52] != _REPO
            or raw.startswith(self._raw_prefixes, start)
            or raw[end + 52 : end + 84].decode("latin-1") in self.tracked
        ):
            return None
        seq = int.from_bytes(raw[end + 37 : end + 45], "big")
        return seq if seq <= MAX_SEQ else None


def _may_be_ours(body: dict[str, Any], prefixes: tuple[str, ...]) -> bool:
    """True if any readable path of a malformed `ops` is ours."""
    ops = body.get("ops")
    if type(ops) is not list:
        return False
    for op in cast("list[Any]", ops):
        if type(op) is dict:
            path = cast("dict[str, Any]", op).get("path")
            if type(path) is str and path.startswith(prefixes):
                return True
    return False
