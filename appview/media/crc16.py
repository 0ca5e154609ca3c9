"""The CRC-16 of LAME's tag (polynomial 0x8005, bits reversed, no inversion), for hundreds of megabytes.

It goes two bytes at a step through a table of all 65,536, and side by side through many lanes of the data;
the lanes are put together by shifting each result over the bytes behind it, which is linear in the result.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0xA001
_LANES = 16_384
_LEAST = _LANES * 64

Table = NDArray[np.uint16]


def crc16(data: bytes | memoryview, crc: int = 0) -> int:
    """The CRC of the data, going on from that of what came before."""
    size = len(data)
    if size >= _LEAST:
        lane = size // _LANES // 2 * 2
        whole = np.frombuffer(data, dtype="<u2", count=_LANES * lane // 2).reshape(_LANES, lane // 2)
        crc = _joined(_side_by_side(whole), lane, crc)
        data = memoryview(data)[_LANES * lane :]
    for byte in data:
        crc = crc >> 8 ^ _bytes()[(crc ^ byte) & 0xFF]
    return crc


def _side_by_side(words: NDArray[np.uint16]) -> list[int]:
    """The CRC of each row."""
    table = _words()
    crcs = np.zeros(len(words), dtype=np.uint16)
    at = np.empty_like(crcs)
    for step in np.ascontiguousarray(words.T):
        np.bitwise_xor(crcs, step, out=at)
        np.take(table, at, out=crcs, mode="clip")  # which writes without a copy, and never has to
    return crcs.tolist()


def _joined(crcs: list[int], lane: int, crc: int) -> int:
    low, high = _shift(lane)
    for each in crcs:
        crc = low[crc & 0xFF] ^ high[crc >> 8] ^ each
    return crc


@functools.cache
def _bytes() -> list[int]:
    """One byte's step."""
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


@functools.cache
def _words() -> Table:
    """Two bytes' step, for each value of CRC xor word."""
    one = np.array(_bytes(), dtype=np.uint16)
    state: Table = np.arange(65_536, dtype=np.uint16)
    for _ in range(2):
        state = (state >> np.uint16(8)) ^ one[state & np.uint16(0xFF)]
    return state


@functools.lru_cache(maxsize=16)
def _shift(count: int) -> tuple[list[int], list[int]]:
    """What `count` zero bytes make of a CRC: of its low byte, and of its high one."""
    power = [1 << bit for bit in range(16)]  # images of each bit under one zero byte, squared as we go
    power = [each >> 8 ^ _bytes()[each & 0xFF] for each in power]
    total = [1 << bit for bit in range(16)]
    while count:
        if count & 1:
            total = [_image(power, each) for each in total]
        power = [_image(power, each) for each in power]
        count >>= 1
    return [_image(total, value) for value in range(256)], [_image(total, value << 8) for value in range(256)]


def _image(images: list[int], value: int) -> int:
    out = 0
    for bit in range(16):
        if value >> bit & 1:
            out ^= images[bit]
    return out
