"""Several encoders make what one makes: the joined MP3 against a single pass, sample by sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appview.media import cores, parallel, segments
from appview.media.encode import Target
from appview.media.failures import Unreadable
from appview.media.ffmpeg import find
from appview.media.id3 import Tags
from appview.media.mp3 import FRAME_SAMPLES
from appview.media.pcm import locate
from appview.media.probe import probe
from appview.media.transcode import transcode
from tests.music import Samples, aiff, decoded, ffmpeg, music

SECONDS = 130.3  # four pieces, and no whole number of frames


async def single_pass(source: Path, out: Path, *options: str) -> Path:
    await ffmpeg("-i", source, *options, "-c:a", "libmp3lame", "-b:a", "320k", "-reservoir", "0", out)
    return out


def snr(sound: Samples, heard: Samples) -> float:
    """How far the error is below the sound, in dB."""
    return float(10 * np.log10(np.mean(sound**2) / np.mean((heard - sound) ** 2)))


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 2), (44_100, 1)])
async def test_a_joined_file_is_as_long_and_as_good_as_one_pass_at_every_join(
    tmp_path: Path, rate: int, channels: int
) -> None:
    sound = music(SECONDS, rate=rate, channels=channels)
    source = aiff(tmp_path / "in.aiff", sound, rate=rate)
    pcm = locate(source)
    assert pcm is not None
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    pieces = await parallel.encode(pcm, tmp_path / "joined.mp3", scratch, workers=4)
    assert pieces == 4
    assert list(scratch.iterdir()) == []
    one = await decoded(await single_pass(source, tmp_path / "one.mp3"), channels=channels)
    joined = await decoded(tmp_path / "joined.mp3", channels=channels)
    assert one.shape == joined.shape == sound.shape
    assert abs(snr(sound, one) - snr(sound, joined)) < 0.01
    plan = segments.plan(len(sound), rate, workers=4)
    joins = [(each.start // FRAME_SAMPLES + each.skip) * FRAME_SAMPLES for each in plan[1:]]
    assert len(joins) == 3
    for at in joins:
        around = slice(at - 2 * FRAME_SAMPLES, at + 2 * FRAME_SAMPLES)
        assert abs(snr(sound[around], one[around]) - snr(sound[around], joined[around])) < 0.05
        worst = np.abs(one[around] - sound[around]).max()
        assert np.abs(joined[around] - sound[around]).max() < worst * 1.1
    # Away from joins most frames are the same bytes, so what is heard is the same.
    assert np.mean(np.all(one == joined, axis=1)) > 0.6


async def test_the_gate_hears_a_join_that_is_wrong(tmp_path: Path) -> None:
    """Encoders that know nothing of each other: what the test above must not let pass."""
    sound = music(4)
    halves = [aiff(tmp_path / f"{n}.aiff", half) for n, half in enumerate(np.split(sound, 2))]
    for half in halves:
        await single_pass(half, half.with_suffix(".mp3"), "-write_xing", "0", "-id3v2_version", "0")
    naive = tmp_path / "naive.mp3"
    naive.write_bytes(b"".join(half.with_suffix(".mp3").read_bytes() for half in halves))
    heard = await decoded(naive)
    assert len(heard) != len(sound)


@pytest.mark.parametrize("suffix", [".flac", ".m4a", ".wav"])
async def test_what_is_not_plain_samples_is_decoded_first(tmp_path: Path, suffix: str) -> None:
    sound = music(70, rate=48_000)
    plain = aiff(tmp_path / "in.aiff", sound, rate=48_000)
    source = tmp_path / f"in{suffix}"
    await ffmpeg("-i", plain, *(["-ac", "6"] if suffix == ".wav" else []), source)
    found = await probe(source)
    out = tmp_path / "out.mp3"
    done = await transcode(source, found, Target.MP3, out, workers=2)
    assert (done.pieces, done.fell_back, done.mime) == (2, None, "audio/mpeg")
    one = await decoded(await single_pass(source, tmp_path / "one.mp3", "-ac", "2"))
    heard = await decoded(out)
    assert heard.shape == one.shape
    # Mixed to two channels through other numbers, so only about the same; another gain would be 6 dB.
    assert np.array_equal(one, heard) or snr(one, heard) > 20


async def test_tags_and_cover_are_in_front(tmp_path: Path) -> None:
    source = aiff(tmp_path / "in.aiff", music(61))
    picture = await ffmpeg(
        "-f", "lavfi", "-i", "color=red:size=64x64", "-frames:v", "1", "-f", "mjpeg", "pipe:1"
    )
    tags = Tags("Ein Stück", "Ada 🎧", "Zweites & Drittes", picture)
    for workers in (1, 2):
        out = tmp_path / f"{workers}.mp3"
        await transcode(source, await probe(source), Target.MP3, out, tags=tags, workers=workers)
        told = (await ffmpeg("-i", out, "-f", "ffmetadata", "pipe:1")).decode()
        assert "title=Ein Stück\n" in told
        assert "artist=Ada 🎧\n" in told
        assert "album=Zweites & Drittes\n" in told
        assert await ffmpeg("-i", out, "-map", "0:v:0", "-c", "copy", "-f", "mjpeg", "pipe:1") == picture
        assert len(await decoded(out)) == 61 * 44_100


async def test_progress_goes_up_to_the_end(tmp_path: Path) -> None:
    source = aiff(tmp_path / "in.aiff", music(SECONDS))
    heard: list[float] = []
    await transcode(
        source, await probe(source), Target.MP3, tmp_path / "out.mp3", workers=2, on_progress=heard.append
    )
    assert heard == sorted(heard)
    assert len(heard) > 4
    assert heard[-1] > 0.98


async def test_each_lane_of_encoders_keeps_to_a_core(tmp_path: Path) -> None:
    source, log = aiff(tmp_path / "in.aiff", music(SECONDS)), tmp_path / "log"
    lame = tmp_path / "ffmpeg"
    lame.write_text(
        "#!/usr/bin/env python3\nimport os, sys\n"
        f"open({str(log)!r}, 'a').write(f'{{sorted(os.sched_getaffinity(0))}}\\n')\n"
        f"os.execv({find()!r}, [{find()!r}, *sys.argv[1:]])\n"
    )
    lame.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    pcm = locate(source)
    assert pcm is not None
    pieces = await parallel.encode(pcm, tmp_path / "out.mp3", scratch, workers=2, ffmpeg=str(lame))
    kept = [[core] for core in cores.usable()[:2]]
    assert sorted(set(log.read_text().splitlines())) == [str(each) for each in kept]
    assert len(log.read_text().splitlines()) == pieces == 2


async def test_where_several_pieces_fail_one_is_made(tmp_path: Path) -> None:
    """An encoder that drops its first frame, as no LAME does: the join notices, and one pass is taken."""
    source = aiff(tmp_path / "in.aiff", music(65))
    lame = tmp_path / "ffmpeg"
    lame.write_text(
        "#!/usr/bin/env python3\nimport subprocess, sys\nargs = sys.argv[1:]\n"
        f"code = subprocess.call([{find()!r}, *args], close_fds=False)\n"
        "if '-write_xing' in args:\n"
        "    out = args[-1].removeprefix('file:'); data = open(out, 'rb').read()\n"
        "    open(out, 'wb').write(data[1044 + (data[2] >> 1 & 1):])\n"
        "sys.exit(code)\n"
    )
    lame.chmod(0o755)
    out = tmp_path / "out.mp3"
    done = await transcode(source, await probe(source), Target.MP3, out, workers=2, ffmpeg=str(lame))
    assert done.pieces == 1
    assert done.fell_back is not None
    assert len(await decoded(out)) == 65 * 44_100


async def test_a_file_that_is_no_sound_is_no_fallback(tmp_path: Path) -> None:
    source = tmp_path / "in.flac"
    await ffmpeg("-i", aiff(tmp_path / "in.aiff", music(65)), source)
    found = await probe(source)
    source.write_bytes(b"fLaC" + bytes(100_000))
    with pytest.raises(Unreadable):
        await transcode(source, found, Target.MP3, tmp_path / "out.mp3", workers=2)
    assert not list(tmp_path.glob("transcode-*"))
