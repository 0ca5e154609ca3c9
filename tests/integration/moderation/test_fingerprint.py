"""Our own scanner on 500 recordings: what it finds of what was changed, and what it takes for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from appview.jobs.house import index_sounds
from appview.moderation.fingerprint import Match, Variant, matches
from appview.moderation.variants import SPEEDS
from lexicons.syntax import Did
from storage import fingerprints
from storage.postgres import Connection, make_pool
from tests.integration.moderation.sounds import add_tracks
from tests.songs import RATE, Song, all_encoded, all_fingerprints, fingerprint, fingerprints_of, song

ANN, BEA = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), Did("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")
CATALOGUE, STRANGERS = 500, 40
LENGTH_S = 32.0
CUT_S = 9.37
Change = Callable[[Sequence[Song]], list[bytes]]


def mp3(songs: Sequence[Song]) -> list[bytes]:
    return fingerprints_of(all_encoded(songs, "-b:a", "128k", "-f", "mp3"))


def opus(songs: Sequence[Song]) -> list[bytes]:
    return fingerprints_of(all_encoded(songs, "-c:a", "libopus", "-b:a", "64k", "-f", "ogg"))


def cuts(songs: Sequence[Song], length_s: float = 20) -> list[Song]:
    return [each[int(CUT_S * RATE) : int((CUT_S + length_s) * RATE)] for each in songs]


def later(songs: Sequence[Song]) -> list[bytes]:
    """With 12 s of something before them."""
    strange = (song(10_000 + len(each) + int(each[5000]), 12) for each in songs)
    return all_fingerprints([np.concatenate(both) for both in zip(strange, songs, strict=True)])


def noisy(songs: Sequence[Song]) -> list[bytes]:
    """White noise 20 dB below."""
    dice = np.random.default_rng(1)
    noise = (dice.normal(0, 0.1 * each.astype(np.float64).std(), len(each)) for each in songs)
    both = zip(songs, noise, strict=True)
    return all_fingerprints([(each + more).clip(-32768, 32767).astype("<i2") for each, more in both])


def played(songs: Sequence[Song], speed: float) -> list[bytes]:
    """A file of each, as it is heard at another speed, pitch and all."""
    return all_encoded(songs, "-af", f"asetrate={round(RATE * speed)},aresample={RATE}", "-f", "wav")


# What is asked of it is asked of the first three.
ASKED: dict[str, Change] = {
    "MP3 128 kbit/s": mp3,
    "Opus 64 kbit/s": opus,
    "cut of 20 s": lambda songs: all_fingerprints(cuts(songs)),
}
OTHERS: dict[str, Change] = {
    "cut of 20 s, MP3": lambda songs: mp3(cuts(songs)),
    "cut of 10 s": lambda songs: all_fingerprints(cuts(songs, 10)),
    "12 s of something before it": later,
    "-12 dB": lambda songs: all_fingerprints(songs, "volume=-12dB"),
    "noise at -20 dB": noisy,
    "tempo +2 %, pitch kept": lambda songs: all_fingerprints(songs, "atempo=1.02"),
    "tempo -2 %, pitch kept": lambda songs: all_fingerprints(songs, "atempo=0.98"),
    "speed +2 %, without variants": lambda songs: fingerprints_of(played(songs, 1.02)),
}
PLAYED = (0.98, 0.9925, 1.0075, 1.02)


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
@pytest.mark.timeout(600)
async def test_a_recording_is_found_however_it_was_changed(conn: Connection) -> None:
    songs = await asyncio.to_thread(lambda: [song(seed, LENGTH_S) for seed in range(CATALOGUE + STRANGERS)])
    prints = await asyncio.to_thread(all_fingerprints, songs)
    await add_tracks(conn, ANN, prints[:CATALOGUE])
    await index(conn)
    tallies: dict[str, Tally] = {}

    async def ask(name: str, right: int | None, *heard: Variant) -> None:
        answers = await matches(conn, heard, besides=BEA)
        tallies.setdefault(name, Tally(name)).add(None if right is None else str(right), answers)

    for name, change in (ASKED | OTHERS).items():
        numbers = range(0, CATALOGUE, 5 if name in ASKED else 13)
        changed = await asyncio.to_thread(change, [songs[n] for n in numbers])
        for number, data in zip(numbers, changed, strict=True):
            await ask(name, number, Variant(data))
    for speed in PLAYED:
        numbers = range(0, CATALOGUE, 13)
        files = await asyncio.to_thread(played, [songs[n] for n in numbers], speed)
        heard = [await asyncio.to_thread(fingerprints_of, files, each) for each in (1.0, *SPEEDS)]
        for number, *data in zip(numbers, *heard, strict=True):
            await ask(f"speed × {speed}", number, *map(Variant, data, (1.0, *SPEEDS)))
    for data in prints[CATALOGUE:]:
        await ask("nobody's", None, Variant(data))

    print(f"\n{'changed to':<30}{'asked':>5}{'found':>11}{'wrong':>11}{'least sure':>11}")
    for tally in tallies.values():
        print(tally.line())
    for name in ASKED:
        assert tallies[name].recall >= 0.99, name
    for speed in PLAYED:
        assert tallies[f"speed × {speed}"].recall >= 0.95, speed
    for name, tally in tallies.items():
        assert tally.wrong <= 0.001 * tally.asked, name


async def test_a_match_tells_where_it_is_in_both_and_how_long(conn: Connection) -> None:
    whole, between = song(1, 40), song(2, 8)
    await add_tracks(conn, ANN, [fingerprint(song(3, 30)), fingerprint(whole)])
    await index(conn)
    ours = fingerprint(np.concatenate([between, whole[10 * RATE : 32 * RATE]]))
    (found,) = await matches(conn, [Variant(ours)], besides=BEA)
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
    assert [each.did for each in await matches(conn, [Variant(data)], besides=ANN)] == [BEA]
    assert [each.did for each in await matches(conn, [Variant(data)], besides=BEA)] == [ANN]


async def test_a_sound_that_is_gone_is_not_found(conn: Connection) -> None:
    data = fingerprint(song(1, 30))
    (sound_id,) = await add_tracks(conn, ANN, [data])
    await index(conn)
    await conn.execute("delete from track_media")
    await conn.execute("delete from blob where id = %s", (sound_id,))
    assert await matches(conn, [Variant(data)], besides=BEA) == []
    cursor = await conn.execute("select count(*) from fingerprint")
    assert await cursor.fetchone() == (0,)


async def test_silence_and_what_is_too_short_match_nothing(conn: Connection) -> None:
    silence = fingerprint(np.zeros(30 * RATE, dtype=np.int16))
    assert len(silence) > 0
    await add_tracks(conn, ANN, [silence])
    await index(conn)
    assert await matches(conn, [Variant(silence)], besides=BEA) == []
    assert await matches(conn, [Variant(b"")], besides=BEA) == []
