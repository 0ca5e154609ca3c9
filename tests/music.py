"""Sound to encode: chords, drums and noise from a seed, so that an encoder has something to decide."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appview.media.ffmpeg import find

Samples = NDArray[np.float32]


def music(duration_s: float, *, rate: int = 44_100, channels: int = 2, seed: int = 1) -> Samples:
    """Samples between -1 and 1, one row a frame."""
    dice = np.random.default_rng(seed)
    count = round(duration_s * rate)
    t = np.arange(count, dtype=np.float32) / rate
    beat = np.exp(-8 * (t % 0.5)).astype(np.float32)
    out = np.zeros((count, channels), dtype=np.float32)
    for channel in range(channels):
        for hz in dice.uniform(80, 4000, 6):
            out[:, channel] += np.sin(2 * np.pi * hz * t + dice.uniform(0, 6)).astype(np.float32)
        out[:, channel] += beat * dice.standard_normal(count, dtype=np.float32) * 3
    return (0.8 * out / np.abs(out).max()).astype(np.float32)


def aiff(path: Path, samples: Samples, *, rate: int = 44_100) -> Path:
    """Write 16 bit AIFF."""
    data = (samples * 32767).astype(">i2").tobytes()
    mantissa, exponent = rate, 16383 + 63
    while mantissa < 1 << 63:
        mantissa, exponent = mantissa * 2, exponent - 1
    comm = struct.pack(">hIhHQ", samples.shape[1], len(samples), 16, exponent, mantissa)
    ssnd = struct.pack(">II", 0, 0) + data
    chunks = b"COMM" + struct.pack(">I", len(comm)) + comm + b"SSND" + struct.pack(">I", len(ssnd)) + ssnd
    path.write_bytes(b"FORM" + struct.pack(">I", 4 + len(chunks)) + b"AIFF" + chunks)
    return path


async def ffmpeg(*arguments: str | Path) -> bytes:
    """ffmpeg itself, without our confinement: what our own results are held against. Its stdout."""
    process = await asyncio.create_subprocess_exec(
        find(),
        *("-hide_banner", "-nostdin", "-v", "error", "-y"),
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    return out


async def decoded(path: Path, *, channels: int = 2) -> Samples:
    """What a player hears: ffmpeg honours the delay and padding that the file tells of."""
    data = await ffmpeg("-i", path, "-map", "0:a:0", "-f", "f32le", "-c:a", "pcm_f32le", "pipe:1")
    return np.frombuffer(data, dtype="<f4").reshape(-1, channels)
