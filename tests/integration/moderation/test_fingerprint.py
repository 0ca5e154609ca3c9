"""Our own scanner on 500 recordings: what it finds of what was changed, and what it takes for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pytest

from appview.jobs.house import index_sounds
from appview.media.probe import probe
from appview.moderation.fingerprint import Match, Variant, matches
from appview.moderation.variants import variants
from lexicons.syntax import Did
from storage import fingerprints
from storage.postgres import Connection, make_pool
from tests.integration.moderation.sounds import add_tracks
from tests.songs import RATE, Song, encoded, fingerprint, fingerprint_of, song

ANN, BEA = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), Did("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")
CATALOGUE, STRANGERS = 500, 40
LENGTH_S = 32.0
CUT_S = 9.37
Change = Callable[[Song], bytes]


def cut(samples: Song, length_s: float = 20) -> Song:
    return samples[int(CUT_S * RATE) : int((CUT_S + length_s) * RATE)]


def mp3(samples: Song) -> bytes:
    return fingerprint_of(encoded(samples, "-b:a", "128k", "-f", "mp3"))


def opus(samples: Song) -> bytes:
    return fingerprint_of(encoded(samples, "-c:a", "libopus", "-b:a", "64k", "-f", "ogg"))


def noisy(samples: Song) -> bytes:
    """White noise 20 dB below."""
    noise = np.random.default_rng(1).normal(0, 0.1 * samples.astype(np.float64).std(), len(samples))
    return fingerprint((samples + noise).clip(-32768, 32767).astype("<i2"))


def faster(speed: float) -> Change:
    return lambda samples: fingerprint(played(samples, speed))


def played(samples: Song, speed: float) -> Song:
    """What is heard of them at another speed, pitch and all."""
    data = encoded(samples, "-af", f"asetrate={round(RATE * speed)},aresample={RATE}", "-f", "s16le")
    return np.frombuffer(data, dtype="<i2")


# What is asked of it is asked of the first three.
ASKED: dict[str, Change] = {
    "MP3 128 kbit/s": mp3,
    "Opus 64 kbit/s": opus,
    "cut of 20 s": lambda samples: fingerprint(cut(samples)),
}
OTHERS: dict[str, Change] = {
    "cut of 20 s, MP3": lambda samples: mp3(cut(samples)),
    "cut of 10 s": lambda samples: fingerprint(cut(samples, 10)),
    "12 s of something before it": lambda samples: fingerprint(
        np.concatenate([song(10_000 + len(samples) + int(samples[5000]), 12), samples])
    ),
    "-12 dB": lambda samples: fingerprint(samples, "volume=-12dB"),
    "noise at -20 dB": noisy,
    "tempo +2 %, pitch kept": lambda samples: fingerprint(samples, "atempo=1.02"),
    "tempo -2 %, pitch kept": lambda samples: fingerprint(samples, "atempo=0.98"),
    "speed +2 %, without variants": faster(1.02),
}
SPEEDS = (0.98, 0.985, 1.015, 1.02)


@pytest.fixture
async def conn(database: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        yield conn


async def index(conn: Connection) -> None:
    """As the house does it."""
    async with make_pool(conn.info.dsn, max_size=1, name="test") as pool:
        await index_sounds(pool)(None)  # type: ignore[arg-type]
    assert await fingerprints.unindexed(conn, limit=1) == []


class Tally:
    """Of one change: who was found of those who should be, and what was taken for another."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = self.found = self.wrong = 0
        self.sure: list[float] = []

    def add(self, right: str | None, answers: Sequence[Match]) -> None:
        self.asked += 1
        self.found += any(each.rkey == right for each in answers)
        self.wrong += any(each.rkey != right for each in answers)
        self.sure += [each.confidence for each in answers if each.rkey == right]

    @property
    def recall(self) -> float:
        return self.found / self.asked

    def line(self) -> str:
        least = f"{min(self.sure):.3f}" if self.sure else "–"
        wrong = self.wrong / self.asked
        return f"{self.name:<30}{self.asked:>5}{self.recall:>11.1%}{wrong:>11.2%}{least:>11}"


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_recording_is_found_however_it_was_changed(conn: Connection, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:

        async def each(change: Change, samples: Sequence[Song]) -> list[bytes]:
            return await asyncio.to_thread(lambda: list(threads.map(change, samples)))

        songs = await asyncio.to_thread(
            lambda: list(threads.map(lambda seed: song(seed, LENGTH_S), range(CATALOGUE + STRANGERS)))
        )
        prints = await each(fingerprint, songs)
        await add_tracks(conn, ANN, prints[:CATALOGUE])
        await index(conn)
        tallies: dict[str, Tally] = {}

        async def ask(name: str, right: int | None, data: bytes, speeds: Sequence[Variant] = ()) -> None:
            answers = await matches(conn, data, besides=BEA, variants=speeds)
            tallies.setdefault(name, Tally(name)).add(None if right is None else str(right), answers)

        for name, change in (ASKED | OTHERS).items():
            numbers = range(0, CATALOGUE, 5 if name in ASKED else 13)
            for number, data in zip(numbers, await each(change, [songs[n] for n in numbers]), strict=True):
                await ask(name, number, data)
        for speed in SPEEDS:
            for number in range(0, CATALOGUE, 40):
                path = tmp_path / "played.wav"
                path.write_bytes(encoded(played(songs[number], speed), "-f", "wav"))
                others = await variants(path, await probe(path))
                await ask(
                    f"speed × {speed}",
                    number,
                    await asyncio.to_thread(fingerprint_of, path.read_bytes()),
                    others,
                )
        for data in prints[CATALOGUE:]:
            await ask("nobody's", None, data)

    print(f"\n{'changed to':<30}{'asked':>5}{'found':>11}{'wrong':>11}{'least sure':>11}")
    for tally in tallies.values():
        print(tally.line())
    for name in ASKED:
        assert tallies[name].recall >= 0.99, name
        assert tallies[name].wrong <= 0.001 * tallies[name].asked, name
    assert tallies["nobody's"].wrong == 0
    assert tallies["speed × 0.98"].recall > tallies["speed +2 %, without variants"].recall


async def test_a_match_tells_where_it_is_in_both_and_how_long(conn: Connection) -> None:
    whole, between = song(1, 40), song(2, 8)
    await add_tracks(conn, ANN, [fingerprint(song(3, 30)), fingerprint(whole)])
    await index(conn)
    ours = fingerprint(np.concatenate([between, whole[10 * RATE : 32 * RATE]]))
    (found,) = await matches(conn, ours, besides=BEA)
    assert (found.did, found.rkey) == (ANN, "1")
    assert found.ours_s == pytest.approx(8, abs=2.5)
    assert found.theirs_s - found.ours_s == pytest.approx(10 - 8, abs=0.3)
    assert found.length_s == pytest.approx(22, abs=3)
    assert found.speed == pytest.approx(1, abs=0.003)
    assert found.confidence > 0.99


async def test_nobody_is_told_of_their_own_tracks(conn: Connection) -> None:
    data = fingerprint(song(1, 30))
    await add_tracks(conn, ANN, [data])
    await add_tracks(conn, BEA, [data])
    await index(conn)
    assert [each.did for each in await matches(conn, data, besides=ANN)] == [BEA]
    assert [each.did for each in await matches(conn, data, besides=BEA)] == [ANN]


async def test_a_sound_that_is_gone_is_not_found(conn: Connection) -> None:
    data = fingerprint(song(1, 30))
    (sound_id,) = await add_tracks(conn, ANN, [data])
    await index(conn)
    await conn.execute("delete from track_media")
    await conn.execute("delete from blob where id = %s", (sound_id,))
    assert await matches(conn, data, besides=BEA) == []
    cursor = await conn.execute("select count(*) from fingerprint")
    assert await cursor.fetchone() == (0,)


async def test_silence_and_what_is_too_short_match_nothing(conn: Connection) -> None:
    silence = fingerprint(np.zeros(30 * RATE, dtype=np.int16))
    assert len(silence) > 0
    await add_tracks(conn, ANN, [silence])
    await index(conn)
    assert await matches(conn, silence, besides=BEA) == []
    assert await matches(conn, b"", besides=BEA) == []
