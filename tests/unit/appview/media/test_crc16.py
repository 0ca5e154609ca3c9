from __future__ import annotations

import random

import pytest

from appview.media.crc16 import crc16


def bit_by_bit(data: bytes, crc: int = 0) -> int:
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def test_the_published_check_value() -> None:
    assert crc16(b"123456789") == 0xBB3D  # CRC-16/ARC


@pytest.mark.parametrize("size", [0, 1, 2, 10_001])
def test_a_few_bytes_come_to_what_their_bits_do(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc16(data) == bit_by_bit(data)
    assert crc16(memoryview(data), 0x1234) == bit_by_bit(data, 0x1234)


@pytest.mark.parametrize("size", [65_533, 65_534, 65_535, 98_301, 3_000_001])
def test_rows_that_are_added_up_come_to_what_a_few_bytes_at_a_time_do(size: int) -> None:
    data = random.Random(size).randbytes(size)
    crc = 0x1234
    for at in range(0, size, 10_000):
        crc = crc16(data[at : at + 10_000], crc)
    assert crc16(memoryview(data), 0x1234) == crc


def test_it_goes_on_from_what_came_before() -> None:
    data = random.Random(2).randbytes(2_700_000)
    assert crc16(data[1_300_001:], crc16(data[:1_300_001])) == crc16(data)
