"""CAR v1: every block against its hash, every cut found that can be (rule B3, traps T17, T18)."""

from __future__ import annotations

import hashlib

import libipld
import pytest

from firehose.car import DAG_CBOR, RAW, BadCar, block_cid, read_car, write_car
from tests.corpus import Corpus


def block(value: object) -> tuple[bytes, bytes]:
    raw = libipld.encode_dag_cbor(value)
    return block_cid(raw), raw


def section(cid: bytes, raw: bytes) -> bytes:
    size = len(cid) + len(raw)
    out = bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes((*out, size)) + cid + raw


ROOT = block({"root": True})
OTHERS = [block({"n": n, "text": "x" * n}) for n in (0, 60, 90, 200, 20_000)]
WHOLE = dict([ROOT, *OTHERS])
CAR = write_car(ROOT[0], WHOLE)


def test_what_was_written_is_read_back() -> None:
    car = read_car(CAR)
    assert car.roots == (ROOT[0],)
    assert car.blocks == WHOLE


def test_every_real_commit_is_read_and_written_alike(corpus: Corpus) -> None:
    for _, body, _ in corpus.commits:
        car = read_car(body["blocks"])
        assert car.roots == (body["commit"],)
        assert body["commit"] in car.blocks
        assert read_car(write_car(car.roots[0], car.blocks)) == car


@pytest.mark.parametrize("at", range(len(OTHERS)))
def test_t17_block_with_wrong_hash_is_refused(at: int) -> None:
    cid, raw = OTHERS[at]
    damaged = {**WHOLE, cid: raw[:-1] + bytes((raw[-1] ^ 1,))}
    with pytest.raises(BadCar, match="hash"):
        read_car(write_car(ROOT[0], damaged))


def test_t17_no_flipped_byte_of_a_block_passes() -> None:
    small = write_car(ROOT[0], dict([ROOT, OTHERS[1]]))
    whole = read_car(small)
    for at in range(59, len(small)):
        for bit in range(8):
            damaged = small[:at] + bytes((small[at] ^ 1 << bit,)) + small[at + 1 :]
            with pytest.raises(BadCar):
                read_car(damaged)
    assert len(whole.blocks) == 2


def test_t18_cut_inside_a_block_is_refused() -> None:
    boundaries = {59}
    for cid, raw in WHOLE.items():
        boundaries.add(max(boundaries) + len(section(cid, raw)))
    assert max(boundaries) == len(CAR)
    for cut in [*range(1, 700), *range(len(CAR) - 50, len(CAR))]:
        if cut not in boundaries:
            with pytest.raises(BadCar):
                read_car(CAR[:cut])


def test_t18_cut_at_a_block_boundary_lacks_the_blocks() -> None:
    cut = len(CAR) - len(section(*OTHERS[-1]))
    assert OTHERS[-1][0] not in read_car(CAR[:cut]).blocks


def test_duplicate_extra_and_unordered_blocks_are_tolerated() -> None:
    extra = block("nobody asked for this")
    header = CAR[:59]
    shuffled = header + b"".join(section(*each) for each in (*reversed(OTHERS), extra, ROOT, OTHERS[0]))
    assert read_car(shuffled).blocks == {**WHOLE, extra[0]: extra[1]}


def test_a_raw_block_is_checked_by_its_own_codec() -> None:
    data = b"just bytes"
    cid = RAW + hashlib.sha256(data).digest()
    assert read_car(CAR[:59] + section(cid, data)).blocks == {cid: data}
    with pytest.raises(BadCar, match="hash"):
        read_car(CAR[:59] + section(cid, data + b"!"))


@pytest.mark.parametrize(
    "cid",
    [
        b"\x12\x20" + hashlib.sha256(b"x").digest() + b"\0\0",
        b"\x01\x71\x13\x40" + hashlib.sha512(b"x").digest()[:32],
        b"\x01\x71\x00\x20" + b"x" * 32,
        b"\x01\x70\x12\x20" + hashlib.sha256(b"x").digest(),
    ],
    ids=["version 0", "sha-512", "identity", "dag-pb"],
)
def test_t19_other_kinds_of_cid_are_refused(cid: bytes) -> None:
    with pytest.raises(BadCar, match="CIDv1"):
        read_car(CAR[:59] + section(cid, b"x"))


def test_a_section_too_short_for_a_cid_is_refused() -> None:
    empty = DAG_CBOR + hashlib.sha256(b"").digest()
    for size in (0, 1, 10, 35):
        with pytest.raises(BadCar):
            read_car(CAR[:59] + bytes((size,)) + empty)


def test_a_section_longer_than_the_file_is_refused_though_its_hash_fits() -> None:
    cid, raw = OTHERS[1]
    longer = bytes((len(cid + raw) + 1,)) + cid + raw
    with pytest.raises(BadCar, match="cut"):
        read_car(CAR[:59] + longer)


@pytest.mark.parametrize(
    "length", [b"\x80\x00", b"\x80\x80", b"\xff" * 9, b"\xff" * 10 + b"\x01", b"\xa5\x80\x00"]
)
def test_a_length_that_is_not_minimal_or_endless_is_refused(length: bytes) -> None:
    with pytest.raises(BadCar):
        read_car(CAR[:59] + length)
    with pytest.raises(BadCar):
        read_car(length)


def headed(header: object) -> bytes:
    raw = libipld.encode_dag_cbor(header)
    return bytes((len(raw),)) + raw + section(*ROOT)


def test_a_header_with_two_roots_or_more_fields_is_read() -> None:
    two = headed({"roots": [ROOT[0], OTHERS[0][0]], "version": 1, "x": "y"})
    assert read_car(two).roots == (ROOT[0], OTHERS[0][0])


@pytest.mark.parametrize(
    "header",
    [
        {"roots": [ROOT[0]], "version": 2},
        {"roots": [], "version": 1},
        {"roots": ["text"], "version": 1},
        {"roots": [RAW + ROOT[0][4:]], "version": 1},
        {"version": 1},
        [1],
    ],
)
def test_a_header_of_another_kind_is_refused(header: object) -> None:
    with pytest.raises(BadCar):
        read_car(headed(header))


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x05\xff\xff\xff\xff\xff", b"\x7f", b"\x3a" + b"\x00" * 58])
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(BadCar):
        read_car(data)
