"""Recordings that have nothing to do with each other: each seed another key, scale, tempo and timbre."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appview.media.analyse import CHROMAPRINT, higher
from appview.media.ffmpeg import find

RATE = 22_050
Song = NDArray[np.int16]

_SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 3, 5, 6, 7, 10),
    (0, 2, 4, 7, 9),
    (0, 1, 4, 5, 7, 8),
)
_RAW = ("-f", "s16le", "-ar", str(RATE), "-ac", "1")
_BATCH = 10


def song(seed: int, duration_s: float) -> Song:
    """Two or three voices and drums, mono, RATE frames a second."""
    dice = np.random.default_rng(seed)
    out = np.zeros(int((duration_s + 5) * RATE), dtype=np.float32)
    beat_s = 60 / dice.uniform(70, 150)
    root_hz = 440 * 2 ** ((dice.uniform(-0.2, 0.2) + int(dice.integers(12))) / 12)
    scale = _SCALES[int(dice.integers(len(_SCALES)))]
    for _ in range(int(dice.integers(2, 4))):
        _voice(dice, out, root_hz, scale, beat_s, duration_s)
    t = np.arange(int(0.15 * RATE)) / RATE
    hit = (dice.standard_normal(len(t)) * np.exp(-40 * t) * dice.uniform(0, 1)).astype(np.float32)
    for at_s in np.arange(0, duration_s, beat_s * float(dice.choice([0.5, 1, 2]))):
        start = int(at_s * RATE)
        out[start : start + len(hit)] += hit * np.float32(dice.uniform(0.5, 1))
    out = out[: int(duration_s * RATE)]
    return (0.7 * 32767 * out / np.abs(out).max()).astype("<i2")


def _voice(
    dice: np.random.Generator,
    out: NDArray[np.float32],
    root_hz: float,
    scale: tuple[int, ...],
    beat_s: float,
    duration_s: float,
) -> None:
    """A melody that wanders over two octaves of the scale, in one timbre."""
    partials = int(dice.integers(3, 9))
    loudness = dice.uniform(0.2, 1, partials) / np.arange(1, partials + 1) ** dice.uniform(0.5, 2)
    decay, octave, vibrato = dice.uniform(0.5, 8), int(dice.integers(-1, 2)), dice.uniform(0, 0.004)
    step = float(dice.choice([0.5, 1, 2]))
    at_s, degree = 0.0, int(dice.integers(len(scale)))
    while at_s < duration_s:
        length_s = beat_s * step * float(dice.choice([0.5, 1, 1, 2]))
        if dice.random() < 0.85:
            degree = (degree + int(dice.integers(-3, 4))) % (2 * len(scale))
            octaves, note = divmod(degree, len(scale))
            hz = root_hz * 2 ** (octave + octaves - 1 + scale[note] / 12)
            t = np.arange(int(min(length_s * 1.3, 3.5) * RATE), dtype=np.float32) / RATE
            phase = 2 * np.pi * hz * t + vibrato * hz * np.sin(2 * np.pi * 5 * t)
            tone = np.zeros(len(t), dtype=np.float32)
            for number, loud in enumerate(loudness, 1):
                if number * hz < RATE / 2.2:
                    tone += (loud * np.sin(number * phase)).astype(np.float32)
            tone *= np.exp(-decay * t) * np.minimum(1, 100 * t)
            start = int(at_s * RATE)
            out[start : start + len(tone)] += tone[: len(out) - start]
        at_s += length_s


def encoded(samples: Song, *codec: str) -> bytes:
    """A file of them, as ffmpeg writes it."""
    return all_encoded([samples], *codec)[0]


def all_encoded(songs: Sequence[Song], *codec: str) -> list[bytes]:
    """One each."""
    return _each([song.tobytes() for song in songs], _RAW, codec)


def fingerprint(samples: Song, *filters: str) -> bytes:
    """As analysis takes it, of what ffmpeg's filters make of them."""
    return all_fingerprints([samples], *filters)[0]


def all_fingerprints(songs: Sequence[Song], *filters: str) -> list[bytes]:
    """One each."""
    return _each([song.tobytes() for song in songs], _RAW, _heard(*filters))


def fingerprints_of(files: Sequence[bytes], speed: float = 1.0) -> list[bytes]:
    """As analysis takes it, of each encoded file; or a variant of it."""
    return _each(files, (), _heard(speed=speed))


def _heard(*filters: str, speed: float = 1.0) -> tuple[str, ...]:
    return "-af", ",".join([*filters, higher(RATE, speed)]), *CHROMAPRINT


def _each(inputs: Sequence[bytes], read: Sequence[str], written: Sequence[str]) -> list[bytes]:
    """What ffmpeg makes of each; a process takes many, as its start costs as much as one of them."""
    with ThreadPoolExecutor(2) as threads:
        batches = [inputs[at : at + _BATCH] for at in range(0, len(inputs), _BATCH)]
        made = threads.map(lambda batch: _batch(batch, read, written), batches)
        return [each for batch in made for each in batch]


def _batch(inputs: Sequence[bytes], read: Sequence[str], written: Sequence[str]) -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix="songs-") as folder:
        command = [find(), "-hide_banner", "-v", "error"]
        outputs = [Path(folder, f"out{number}") for number in range(len(inputs))]
        for number, data in enumerate(inputs):
            path = Path(folder, f"in{number}")
            path.write_bytes(data)
            command += ["-threads", "1", *read, "-i", str(path)]
        for number, path in enumerate(outputs):
            command += ["-map", f"{number}:a:0", "-threads", "1", *written, str(path)]
        subprocess.run(command, check=True)
        return [path.read_bytes() for path in outputs]
