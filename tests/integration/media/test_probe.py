"""Content decides: real files of every kind, cut ones, and others that say what they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appview.media.analyse import PEAKS, analyse
from appview.media.encode import Target
from appview.media.failures import MediaFailed, NotAudio, TooLong, Truncated
from appview.media.probe import channels_of, probe
from appview.media.transcode import transcode
from tests.music import Samples, aiff, decoded, ffmpeg, music

KINDS = {
    "plain.aiff": ("AIFF", "pcm_s16be", ()),
    "plain.wav": ("WAV", "pcm_s16le", ()),
    "deep.wav": ("WAV", "pcm_s24le", ("-c:a", "pcm_s24le")),
    "float.wav": ("WAV", "pcm_f32le", ("-c:a", "pcm_f32le")),
    "packed.wav": ("WAV", "adpcm_ms", ("-c:a", "adpcm_ms")),
    "one.flac": ("FLAC", "flac", ()),
    "one.ogg": ("Ogg", "vorbis", ("-c:a", "libvorbis")),
    "one.opus": ("Ogg", "opus", ("-c:a", "libopus")),
    "one.webm": ("WebM", "opus", ("-c:a", "libopus")),
    "one.m4a": ("MP4", "aac", ()),
    "alac.m4a": ("MP4", "alac", ("-c:a", "alac")),
    "one.mp3": ("MP3", "mp3", ()),
    "one.aac": ("AAC", "aac", ()),
    "one.caf": ("CAF", "pcm_s16be", ("-c:a", "pcm_s16be")),
}
# Of these a cut tail cannot be told from an end: their headers don't say how long they are.
ENDLESS = {"one.aac", "one.caf"}
SECONDS = 8


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return aiff(tmp_path_factory.mktemp("sound") / "plain.aiff", music(SECONDS))


async def made(original: Path, name: str, folder: Path) -> Path:
    path = folder / name
    await ffmpeg("-i", original, *KINDS[name][2], path)
    return path


@pytest.mark.parametrize("name", KINDS)
async def test_every_kind_is_known_by_its_content_and_plays_as_mp3(
    original: Path, name: str, tmp_path: Path
) -> None:
    path = await made(original, name, tmp_path)
    misnamed = path.rename(tmp_path / "song.txt")
    found = await probe(misnamed)
    kind, codec, _ = KINDS[name]
    assert (found.container.name, found.codec, found.channels) == (kind, codec, 2)
    assert found.duration_s == pytest.approx(SECONDS, abs=0.06)
    out = tmp_path / "out.mp3"
    await transcode(misnamed, found, Target.MP3, out)
    made_of_it = await probe(out)
    assert made_of_it.codec == "mp3"
    assert len(await decoded(out)) / made_of_it.rate == pytest.approx(SECONDS, abs=0.06)


@pytest.mark.parametrize("target", [Target.WAV, Target.M4A, Target.OPUS])
async def test_other_formats_are_made_too(original: Path, target: Target, tmp_path: Path) -> None:
    out = tmp_path / f"out.{target}"
    await transcode(original, await probe(original), target, out)
    found = await probe(out)
    expected = {Target.WAV: "pcm_s16le", Target.M4A: "aac", Target.OPUS: "opus"}
    assert found.codec == expected[target]
    assert found.duration_s == pytest.approx(SECONDS, abs=0.06)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ENDLESS])
async def test_half_a_file_is_refused_with_a_reason(original: Path, name: str, tmp_path: Path) -> None:
    path = await made(original, name, tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 - 7])
    with pytest.raises((Truncated, NotAudio)) as refused:
        await probe(path)
    assert str(refused.value)
    assert str(tmp_path) not in str(refused.value)


async def test_a_text_file_called_mp3_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    path.write_text("It was the best of times, it was the worst of times.\n" * 100)
    with pytest.raises(NotAudio, match="no audio file that we know"):
        await probe(path)


async def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.m4a"
    await ffmpeg("-f", "lavfi", "-i", "testsrc=d=1", "-c:v", "libx264", "-f", "mp4", path)
    with pytest.raises(NotAudio, match="no sound in it"):
        await probe(path)


async def test_a_bomb_ends_at_the_length_that_is_allowed(tmp_path: Path) -> None:
    """Two hours of silence in a file of some kilobytes."""
    path = tmp_path / "bomb.flac"
    await ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "7200", "-frame_size", "65535", path)
    assert path.stat().st_size < 100_000
    with pytest.raises(TooLong, match="longer than 60 minutes"):
        await probe(path, max_duration_s=3600)


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
@pytest.mark.parametrize(
    "head", [b"fLaC", b"OggS", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x20ftypM4A ", b"\x1aE\xdf\xa3", b"caff"]
)
async def test_garbage_behind_a_good_beginning_is_refused(tmp_path: Path, head: bytes, size: int) -> None:
    path = tmp_path / "song"
    path.write_bytes(head + bytes(range(256)) * (size // 256) + bytes(size % 256))
    with pytest.raises(MediaFailed):
        await probe(path)


def test_layouts_are_counted() -> None:
    names = {
        "mono": 1,
        "stereo": 2,
        "2.1": 3,
        "5.1(side)": 6,
        "7.1.4": 12,
        "12 channels (FL+FR)": 12,
        "quad": 4,
    }
    assert {name: channels_of(name) for name in names} == names


def tone(dbfs: float, seconds: float = 20) -> Samples:
    t = np.arange(round(seconds * 48_000)) / 48_000
    wave = np.sin(2 * np.pi * 1000 * t) * 10 ** (dbfs / 20)
    return np.stack([wave, wave], axis=1).astype(np.float32)


@pytest.mark.parametrize("dbfs", [-23.0, -33.0])
async def test_loudness_is_that_of_the_published_test_signals(tmp_path: Path, dbfs: float) -> None:
    """EBU Tech 3341, cases 1 and 2: a sine of 1 kHz on both channels has the loudness of its level."""
    path = aiff(tmp_path / "tone.aiff", tone(dbfs), rate=48_000)
    found = await analyse(path, await probe(path))
    assert found.loudness_lufs == pytest.approx(dbfs, abs=0.1)
    assert found.peak_dbfs == pytest.approx(dbfs, abs=0.1)
    assert found.duration_s == 20
    assert len(found.peaks) == pytest.approx(PEAKS, abs=100)
    assert set(found.peaks) <= {round(255 * 10 ** (dbfs / 20)) + each for each in (-1, 0, 1)}


async def test_peaks_follow_the_sound(tmp_path: Path) -> None:
    sound = np.zeros((1024 * PEAKS * 2, 2), dtype=np.float32)
    sound[1024 * 2 * 10, 0] = -1.0  # in one channel alone
    sound[-1, 1] = 0.5
    path = aiff(tmp_path / "clicks.aiff", sound)
    found = await analyse(path, await probe(path))
    assert len(found.peaks) == PEAKS
    assert {place: peak for place, peak in enumerate(found.peaks) if peak} == {10: 254, PEAKS - 1: 127}


async def test_silence_has_no_peak_and_the_least_loudness(tmp_path: Path) -> None:
    path = aiff(tmp_path / "silence.aiff", np.zeros((44_100 * 5, 1), dtype=np.float32))
    found = await analyse(path, await probe(path))
    assert (found.loudness_lufs, found.range_lu, found.peak_dbfs) == (-70.0, 0.0, None)
    assert set(found.peaks) == {0}


async def test_a_fingerprint_knows_its_sound_again_as_mp3_and_no_other(tmp_path: Path) -> None:
    one, other = (aiff(tmp_path / f"{seed}.aiff", music(30, seed=seed)) for seed in (1, 2))
    await ffmpeg("-i", one, "-b:a", "96k", tmp_path / "one.mp3")
    prints = []
    for path in (one, tmp_path / "one.mp3", other):
        data = (await analyse(path, await probe(path))).fingerprint
        assert 30 * 7 < len(data) // 4 < 30 * 8.2
        prints.append(np.frombuffer(data[: 4 * 200], dtype=np.uint8))
    differing = [int(np.unpackbits(prints[0] ^ each).sum()) / (200 * 32) for each in prints[1:]]
    assert differing[0] < 0.1
    assert differing[1] > 0.18
