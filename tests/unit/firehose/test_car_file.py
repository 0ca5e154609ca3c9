"""CAR files read block by block: the same as in one piece, whatever the order, size and cuts (T17, T18)."""

from __future__ import annotations

import hashlib
import io
import random
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import libipld
import pytest

from firehose.car import RAW, BadCar, block_cid, write_car
from firehose.car_file import MAX_BLOCK, CarFile, Places

Blocks = dict[bytes, bytes]


def record(n: int, kind: str = "fm.plyr.track") -> tuple[bytes, bytes]:
    raw = libipld.encode_dag_cbor({"$type": kind, "n": n, "text": "x" * (n * 37 % 500)})
    return block_cid(raw), raw


def node(n: int) -> tuple[bytes, bytes]:
    raw = libipld.encode_dag_cbor({"e": [n], "l": None})
    return block_cid(raw), raw


ROOT = record(-1, "commit")
BLOCKS: Blocks = dict([ROOT, *map(node, range(30)), *(record(n) for n in range(60))])
OTHERS: Blocks = dict(record(n, "app.bsky.feed.post") for n in range(40))


def open_car(blocks: Blocks) -> CarFile:
    return CarFile(io.BytesIO(write_car(ROOT[0], blocks)))


@pytest.mark.parametrize("needle", [b"", b"fm.plyr.", b"not anywhere"])
def test_every_block_is_found_in_any_order(needle: bytes) -> None:
    order = list((BLOCKS | OTHERS).items())
    for seed in range(5):
        random.Random(seed).shuffle(order)
        with open_car(dict(order)) as car:
            car.index(needle)
            assert all(car.get(cid) == raw for cid, raw in order)
            assert car.get(record(1000)[0]) is None


def test_the_first_block_is_known_without_going_over_the_file() -> None:
    data = write_car(ROOT[0], BLOCKS)
    assert CarFile(io.BytesIO(data[:-5])).first() == ROOT
    assert CarFile(io.BytesIO(write_car(ROOT[0], {}))).first() is None


def test_files_on_disk_in_memory_and_in_between_are_read_alike(tmp_path: Path) -> None:
    blocks = BLOCKS | dict(record(n * 500, "x" * 3000) for n in range(5000, 8000))
    data = write_car(ROOT[0], blocks)
    assert len(data) > 8 * 1024 * 1024
    (tmp_path / "repo.car").write_bytes(data)
    spooled = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=1000))  # noqa: SIM115
    with spooled:
        spooled.write(data)
        for file in (tmp_path / "repo.car", io.BytesIO(data), spooled):
            with CarFile(file) as car:
                assert car.size == len(data)
                assert all(car.get(cid) == raw for cid, raw in blocks.items())


def test_blocks_at_the_edges_of_what_is_read_at_once_are_found() -> None:
    for size in range(131_072 - 300, 131_072 + 300, 7):
        filler = b"\x61" * size
        blocks = {RAW + hashlib.sha256(filler).digest(): filler, **BLOCKS}
        car = open_car(blocks)
        car.index(b"fm.plyr.")
        assert all(car.get(cid) == raw for cid, raw in blocks.items())


def test_t17_a_block_with_another_hash_is_refused() -> None:
    cid, raw = record(5)
    for wrong in (raw[:-1] + b"y", raw + b"y", b""):
        with pytest.raises(BadCar, match="hash"):
            open_car({**BLOCKS, cid: wrong}).get(cid)


def test_two_blocks_whose_cids_begin_alike_are_refused() -> None:
    cid, raw = record(5)
    with pytest.raises(BadCar, match="hash"):
        open_car({**BLOCKS, cid[:20] + b"x" * 16: raw}).get(cid)


def test_t18_a_file_that_ends_inside_a_section_is_refused() -> None:
    data = write_car(ROOT[0], BLOCKS)
    edges = {len(write_car(ROOT[0], dict(list(BLOCKS.items())[:n]))) for n in range(len(BLOCKS) + 1)}
    for size in [*range(1, 3000), *range(len(data) - 600, len(data))]:
        if size not in edges:
            with pytest.raises(BadCar):
                CarFile(io.BytesIO(data[:size])).index()


def test_t18_a_file_that_ends_between_sections_lacks_blocks() -> None:
    *kept, (last, _) = BLOCKS.items()
    assert open_car(dict(kept)).get(last) is None


@pytest.mark.parametrize(
    "end", [b"\x80", b"\x80\x00", b"\xff" * 9, b"\x05hello", b"\xff\xff\xff\x7f", b"\x24abc"]
)
def test_noise_behind_the_blocks_is_refused(end: bytes) -> None:
    with pytest.raises(BadCar):
        CarFile(io.BytesIO(write_car(ROOT[0], BLOCKS) + end)).index()


def test_a_block_too_large_for_anything_is_passed_over_and_not_given() -> None:
    huge = b"\0" * (MAX_BLOCK + 1)
    cid = RAW + hashlib.sha256(huge).digest()
    car = open_car({cid: huge, **BLOCKS})
    assert all(car.get(cid) == raw for cid, raw in BLOCKS.items())
    with pytest.raises(BadCar, match="too long"):
        car.get(cid)


def test_an_empty_block_is_a_block() -> None:
    cid = RAW + hashlib.sha256(b"").digest()
    for blocks in ({**BLOCKS, cid: b""}, {cid: b"", **BLOCKS}):
        assert open_car(blocks).get(cid) == b""


def test_what_is_no_car_is_refused_at_once() -> None:
    for data in (b"", b"<html>", b"\x7f" * 200):
        with pytest.raises(BadCar):
            CarFile(io.BytesIO(data))


def test_a_quarter_of_a_million_places_are_each_found_again() -> None:
    keys = [hashlib.sha256(n.to_bytes(4, "big")).digest()[:8] for n in range(250_000)]
    places = Places({keys[0]: 7})
    for n, key in enumerate(keys[1:], 1):
        places[key] = n * 1_000_003
    assert places.get(keys[0]) == 7
    assert all(places.get(key) == n * 1_000_003 for n, key in enumerate(keys[1:], 1))
    assert places.get(b"nowhere!") is None


def test_a_block_that_comes_thousands_of_times_has_one_of_its_places() -> None:
    places = Places({})
    for n in range(5000):
        places[b"one same"] = n
    assert places.get(b"one same") in range(5000)


def test_made_up_cids_that_would_make_reading_slow_are_refused() -> None:
    with pytest.raises(BadCar, match="no hashes"):
        Places({b"ab" + n.to_bytes(6, "big"): n for n in range(5000)})
