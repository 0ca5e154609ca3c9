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


@pytest.mark.parametrize("size", [0, 1, 2, 262_143, 262_144, 262_145, 300_001, 1_000_000])
def test_lanes_come_to_what_bits_do(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc16(data) == bit_by_bit(data)
    assert crc16(memoryview(data), 0x1234) == bit_by_bit(data, 0x1234)


def test_it_goes_on_from_what_came_before() -> None:
    data = random.Random(2).randbytes(700_000)
    assert crc16(data[300_001:], crc16(data[:300_001])) == crc16(data)
