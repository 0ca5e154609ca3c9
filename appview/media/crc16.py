"""The CRC-16 of LAME's tag (polynomial 0x8005, bits reversed, no inversion), for hundreds of megabytes.

The polynomial is (x + 1)(x¹⁵ + x + 1), and x has the order 2¹⁵ − 1 modulo the second factor, so x³²⁷⁶⁷ is 1
modulo both. Bytes that are 32,767 places apart do the same to a CRC: they are added up first, which is an XOR
of rows at the speed of memory, and only the one row that comes of it goes through the table.
"""

from __future__ import annotations

import functools

_POLYNOMIAL = 0xA001
_PERIOD = 32_767


def crc16(data: bytes | memoryview, crc: int = 0) -> int:
    """The CRC of the data, going on from that of what came before."""
    whole = len(data) // _PERIOD
    if whole < 2:
        return _through(data, crc)
    import numpy as np  # here: with the first long sound, not with the process

    head = len(data) - whole * _PERIOD
    rows = np.frombuffer(data, dtype=np.uint8, offset=head).reshape(whole, _PERIOD)
    return _through(np.bitwise_xor.reduce(rows, axis=0).tobytes(), _through(data[:head], crc))


def _through(data: bytes | memoryview, crc: int) -> int:
    table = _table()
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


@functools.cache
def _table() -> list[int]:
    """One byte's step."""
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table
