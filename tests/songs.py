"""Recordings that have nothing to do with each other: each seed another key, scale, tempo and timbre."""

from __future__ import annotations

import subprocess

import numpy as np
from numpy.typing import NDArray

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
_RAW = ("-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "pipe:0")


def song(seed: int, duration_s: float) -> Song:
    """Two or three voices and drums, mono, RATE frames a second."""
    dice = np.random.default_rng(seed)
    out = np.zeros(int((duration_s + 5) * RATE), dtype=np.float32)
    beat_s = 60 / dice.uniform(70, 150)
    root_hz = 440 * 2 ** ((dice.uniform(-0.2, 0.2) + dice.integers(12)) / 12)
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
    """A file of them, as ffmpeg writes it to a pipe."""
    return _ffmpeg(samples.tobytes(), *_RAW, *codec, "pipe:1")


def fingerprint(samples: Song, *filters: str) -> bytes:
    """As analysis takes it, of what ffmpeg's filters make of them."""
    changed = ("-af", ",".join(filters)) if filters else ()
    return _ffmpeg(samples.tobytes(), *_RAW, *changed, "-f", "chromaprint", "-fp_format", "raw", "pipe:1")


def fingerprint_of(file: bytes) -> bytes:
    """As analysis takes it, of an encoded file."""
    return _ffmpeg(file, "-i", "pipe:0", "-f", "chromaprint", "-fp_format", "raw", "pipe:1")


def _ffmpeg(data: bytes, *arguments: str) -> bytes:
    command = [find(), "-hide_banner", "-v", "error", "-threads", "1", *arguments]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout
