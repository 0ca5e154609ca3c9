"""Short pieces of real audio, made with the standard library alone."""

from __future__ import annotations

import io
import math
import struct
import wave
from collections.abc import Sequence

RATE = 8000
NOTE_S = 0.25


def melody(frequencies_hz: Sequence[float]) -> bytes:
    """A WAV file (mono, 16 bit, 8 kHz) of one plucked note after another."""
    samples = bytearray()
    for hz in frequencies_hz:
        for i in range(int(RATE * NOTE_S)):
            t = i / RATE
            wave_ = math.sin(2 * math.pi * hz * t) + 0.4 * math.sin(4 * math.pi * hz * t)
            samples += struct.pack("<h", int(12_000 * wave_ * math.exp(-6 * t)))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(bytes(samples))
    return file.getvalue()
