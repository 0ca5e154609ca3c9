"""Framing: what is a frame, what is refused, and that nothing else ever comes out (rules A1-A4)."""

from __future__ import annotations

import contextlib
import random

import libipld
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firehose.events import ErrorFrame, Frame
from firehose.frames import BadFrame, decode_frame, seq_of
from tests.corpus import Corpus
from tests.fakenet.repo import error_frame, frame


def encoded(*values: object) -> bytes:
    return b"".join(libipld.encode_dag_cbor(value) for value in values)


MESSAGE = {"t": "#account", "op": 1}
BODY = {"seq": 7, "did": "did:plc:abc", "time": "2026-07-04T14:38:08Z", "active": True}


def test_a_message_has_its_type_and_its_body() -> None:
    got = decode_frame(encoded(MESSAGE, BODY))
    assert got == Frame("#account", BODY)
    assert seq_of(got) == 7


def test_an_error_frame_has_its_name_and_perhaps_a_message() -> None:
    assert decode_frame(error_frame("ConsumerTooSlow", "hurry")) == ErrorFrame("ConsumerTooSlow", "hurry")
    assert decode_frame(error_frame("FutureCursor")) == ErrorFrame("FutureCursor", None)


def test_an_unknown_type_and_unknown_fields_are_passed_on() -> None:
    got = decode_frame(encoded({"t": "#future", "op": 1, "x": 1}, {"seq": 9, "extra": [1, 2]}))
    assert got == Frame("#future", {"seq": 9, "extra": [1, 2]})


def test_an_unknown_op_is_a_frame_of_no_type() -> None:
    assert decode_frame(encoded({"op": 2, "t": "#commit"}, {"seq": 3})) == Frame("", {"seq": 3})


def test_info_needs_no_seq() -> None:
    got = decode_frame(frame("#info", {"name": "OutdatedCursor"}, 0))
    assert got == Frame("#info", {"name": "OutdatedCursor"})
    assert seq_of(got) is None


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "0 CBOR objects"),
        (encoded(MESSAGE), "1 CBOR objects"),
        (encoded(MESSAGE, BODY, {}), "3 CBOR objects"),
        (encoded([1], BODY), "not a map"),
        (encoded(MESSAGE, 5), "not a map"),
        (encoded({"op": 1}, BODY), "without a type"),
        (encoded({"op": 1, "t": 5}, BODY), "without a type"),
        (encoded({"op": True, "t": "#account"}, BODY), "without an op"),
        (encoded({"op": 1.0, "t": "#account"}, BODY), "without an op"),
        (encoded({"t": "#account"}, BODY), "without an op"),
        (encoded({"op": -1}, {"message": "?"}), "without a name"),
        (encoded(MESSAGE, {"did": "did:plc:abc"}), "without a seq"),
        (encoded(MESSAGE, {**BODY, "seq": -1}), "without a seq"),
        (encoded(MESSAGE, {**BODY, "seq": "7"}), "without a seq"),
        (encoded(MESSAGE, {**BODY, "seq": True}), "without a seq"),
        (encoded(MESSAGE) + b"\x1b" + b"\xff" * 8, "not a map"),
        (encoded(MESSAGE) + b"\x81" * 100_000 + b"\x00", "not DAG-CBOR"),
        (encoded(MESSAGE) + b"\x9f\x01\xff", "not DAG-CBOR"),
        (encoded(MESSAGE) + b"\xa2aa\x01aa\x02", "not DAG-CBOR"),
    ],
)
def test_what_is_not_a_frame_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(BadFrame, match=why):
        decode_frame(raw)


def test_a_seq_beyond_64_bits_is_refused() -> None:
    with pytest.raises(BadFrame, match="without a seq"):
        decode_frame(encoded(MESSAGE) + libipld.encode_dag_cbor({**BODY, "seq": 2**63}))


def test_a_damaged_frame_still_tells_its_seq(corpus: Corpus) -> None:
    for raw in corpus.frames:
        seq = seq_of(decode_frame(raw))
        # the seq of a commit stands in its first quarter, that of a short frame near its end
        for cut in (min(len(raw) - 1, max(len(raw) * 2 // 3, 100)), len(raw) - 1):
            with pytest.raises(BadFrame) as refused:
                decode_frame(raw[:cut])
            assert refused.value.seq == seq


def test_no_flipped_byte_and_no_cut_raises_anything_else(corpus: Corpus) -> None:
    rng = random.Random(5)
    refused = 0
    for raw in corpus.frames:
        for _ in range(60):
            at, bit = rng.randrange(min(len(raw), 600)), 1 << rng.randrange(8)
            damaged = raw[:at] + bytes((raw[at] ^ bit,)) + raw[at + 1 :]
            for variant in (damaged, damaged[: rng.randrange(len(raw))]):
                try:
                    decode_frame(variant)
                except BadFrame:
                    refused += 1
    assert refused > 150 * 60


@given(st.binary(max_size=200))
def test_noise_is_refused_or_read(raw: bytes) -> None:
    with contextlib.suppress(BadFrame):
        assert isinstance(decode_frame(raw), Frame | ErrorFrame)


def test_the_real_frames_are_in_sequence(corpus: Corpus) -> None:
    seqs = [seq_of(decode_frame(raw)) for raw in corpus.frames]
    assert seqs == list(range(31527015322, 31527015472))
