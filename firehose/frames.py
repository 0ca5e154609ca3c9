"""Bytes of one event-stream message become a `Frame`, or `BadFrame`, and nothing else.

The body is decoded, not believed: types of its fields are for `firehose.message` and `commit` to check.
One poison frame never stops a stream, so the error carries the seq wherever one can be read.
"""

from __future__ import annotations

import re
from typing import Any, cast

import libipld

from firehose.events import ErrorFrame, Frame

SEQUENCED = frozenset({"#commit", "#sync", "#identity", "#account"})

_SEQ_KEY = re.compile(rb"cseq(\x1b.{8}|\x1a.{4}|\x19.{2}|\x18.|[\x00-\x17])", re.DOTALL)
MAX_SEQ = 2**63 - 1


class BadFrame(Exception):
    """The bytes are no event-stream frame. `seq` is a hint, None where none could be read.

    A hint because it may come from damaged bytes: trust it only if it continues the stream.
    """

    def __init__(self, reason: str, seq: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seq = seq


def decode_frame(raw: bytes) -> Frame | ErrorFrame:
    """The frame in `raw`, its CAR untouched; raises `BadFrame` only (event-stream spec, "Framing").

    An unknown `op` comes out as a frame of type "" and an unknown `t` as it is: both are for the
    caller to pass over, since a newer server may send them.
    """
    try:
        parts = libipld.decode_dag_cbor_multi(raw)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"not DAG-CBOR: {error}", _seq_hint(raw)) from None
    if len(parts) != 2:
        raise BadFrame(f"{len(parts)} CBOR objects instead of 2", _seq_hint(raw))
    header, body = parts
    if type(header) is not dict or type(body) is not dict:
        raise BadFrame("header or body is not a map", _seq_hint(raw))
    header = cast("dict[str, Any]", header)
    body = cast("dict[str, Any]", body)
    op = header.get("op")
    if op == 1 and type(op) is int:
        kind = header.get("t")
        if type(kind) is not str:
            raise BadFrame("message without a type", _seq_hint(raw))
        if kind in SEQUENCED:
            seq = body.get("seq")
            if type(seq) is not int or not 0 <= seq <= MAX_SEQ:
                raise BadFrame(f"{kind} without a seq")
        return Frame(kind, body)
    if op == -1:
        return _error_frame(body)
    if type(op) is not int:
        raise BadFrame("header without an op", _seq_hint(raw))
    return Frame("", body)


def seq_of(frame: Frame | ErrorFrame) -> int | None:
    """The seq that the frame carries; None for `#info`, error frames and unknown types without one."""
    if isinstance(frame, ErrorFrame):
        return None
    seq = frame.body.get("seq")
    return seq if type(seq) is int and 0 <= seq <= MAX_SEQ else None


def _error_frame(body: dict[str, Any]) -> ErrorFrame:
    name, message = body.get("error"), body.get("message")
    if type(name) is not str:
        raise BadFrame("error frame without a name")
    return ErrorFrame(name, message if type(message) is str else None)


def _seq_hint(raw: bytes) -> int | None:
    """The first `seq` in the bytes of a frame that could not be decoded."""
    found = _SEQ_KEY.search(raw, 0, 65_536)
    if found is None:
        return None
    head = found.group(1)
    seq = head[0] if len(head) == 1 else int.from_bytes(head[1:], "big")
    return seq if seq <= MAX_SEQ else None
