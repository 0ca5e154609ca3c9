"""Invented artists and listeners, and how they put their things onto a devnet.

Everything goes through the PDSs' XRPC as a person's app would send it: uploadBlob, then the record
that names the blob, then what others say about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.devnet.network import Account, Devnet
from tests.devnet.records import tid
from tests.devnet.sound import NOTE_S, melody

NOTES_HZ: Mapping[str, float] = {
    "c": 261.63,
    "d": 293.66,
    "e": 329.63,
    "f": 349.23,
    "g": 392.0,
    "a": 440.0,
    "b": 493.88,
    "C": 523.25,
    "D": 587.33,
    "E": 659.26,
    "-": 0.0,
}


@dataclass(frozen=True)
class Song:
    title: str
    notes: str
    album: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Person:
    """An account; who has songs is an artist. `likes` and `says` name songs by title."""

    name: str  # of the handle
    display_name: str
    bio: str
    songs: tuple[Song, ...] = ()
    likes: tuple[str, ...] = ()
    says: tuple[tuple[str, int, str], ...] = ()  # song, milliseconds, words


CAST: tuple[Person, ...] = (
    Person(
        "maralind",
        "Mara Lind",
        "Piano and field recordings from the north coast.",
        (
            Song("Ferry Bell", "c-e-g-C-g-e-c-", "Low Water", "The 6:40 boat, two pianos, one take."),
            Song("Low Water", "a-C-E-D-C-a-g-e-", "Low Water"),
            Song("Gulls Before Rain", "EDCagECa-g-e-", "Low Water"),
            Song("Kitchen Radio", "ggaagECa"),
        ),
        ("Night Tram No. 7", "Copper Wire"),
        (("Copper Wire", 1500, "that little stumble in the beat is everything"),),
    ),
    Person(
        "paperlanterns",
        "The Paper Lanterns",
        "Four friends, three synthesizers. Tapes when we get round to it.",
        (
            Song("Night Tram No. 7", "aaEEDDCaaEEDDC", "Last Stop"),
            Song(
                "Rooftop Weather",
                "ceg-Ceg-dfa-Dfa",
                "Last Stop",
                "Recorded in the week when the lift was out.",
            ),
            Song("Álvaro's Umbrella", "e-g-a-b-a-g-e-"),
        ),
        ("Ferry Bell", "Gulls Before Rain"),
        (("Ferry Bell", 700, "is that the actual bell?"),),
    ),
    Person(
        "okafor",
        "Tobias Okafor",
        "Drums, mostly. Basements, always.",
        (
            Song("Copper Wire", "ccCcccCcddDdddDd"),
            Song("Half Past Nothing", "c--c-g--e--e-C", description="Demo. Turn it up."),
        ),
        ("Night Tram No. 7", "Low Water", "Rooftop Weather"),
        (("Night Tram No. 7", 2000, "stealing this bassline, sorry"),),
    ),
    Person(
        "noor",
        "Noor",
        "I listen on the way to work.",
        likes=("Ferry Bell", "Night Tram No. 7", "Copper Wire", "Rooftop Weather", "Kitchen Radio"),
        says=(
            ("Ferry Bell", 2200, "goosebumps right here"),
            ("Rooftop Weather", 900, "this drop!"),
            ("Night Tram No. 7", 300, "hello from tram 7"),
        ),
    ),
    Person(
        "juniper",
        "Juniper Static",
        "Collector of short songs.",
        likes=("Night Tram No. 7", "Ferry Bell", "Half Past Nothing", "Álvaro's Umbrella"),
        says=(("Half Past Nothing", 1100, "it ends too soon, please make it longer"),),
    ),
)

PLAYLIST = (
    "Songs for the Way Home",
    "noor",
    ("Night Tram No. 7", "Low Water", "Rooftop Weather", "Copper Wire"),
)


@dataclass(frozen=True)
class Written:
    """What is on the network now, by the names above."""

    accounts: Mapping[str, Account]
    songs: Mapping[str, Mapping[str, str]]  # title: strong reference
    lists: Mapping[str, str]  # name: URI


async def write_everything(net: Devnet, cast: Sequence[Person], namespace: str) -> Written:
    """The whole cast with all that they made and said, as if over the last weeks."""
    made = await net.accounts([person.name for person in cast])
    accounts = {person.name: account for person, account in zip(cast, made, strict=True)}
    started = datetime.now(UTC) - timedelta(days=21)
    moments = (started + timedelta(hours=7 * n) for n in range(1000))
    rkeys = (tid(int(started.timestamp() * 1_000_000) + n) for n in range(1000))

    def now() -> str:
        return next(moments).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    async def write(account: Account, kind: str, record: dict[str, Any]) -> dict[str, str]:
        answer = await net.put(account, f"{namespace}.{kind}", next(rkeys), record | {"createdAt": now()})
        return {"uri": answer["uri"], "cid": answer["cid"]}

    for person in cast:
        account = accounts[person.name]
        await net.put(account, f"{namespace}.actor.profile", "self", {"bio": person.bio, "createdAt": now()})
        await net.put(account, "app.bsky.actor.profile", "self", {"displayName": person.display_name})

    async def publish(person: Person, song: Song) -> tuple[str, dict[str, str]]:
        account = accounts[person.name]
        audio = await asyncio.to_thread(melody, [NOTES_HZ[note] for note in song.notes])
        record: dict[str, Any] = {
            "title": song.title,
            "artist": person.display_name,
            "fileType": "wav",
            "audioBlob": await net.upload_blob(account, audio, "audio/wav"),
            "duration": round(len(song.notes) * NOTE_S),
        }
        record |= {"album": song.album} if song.album else {}
        record |= {"description": song.description} if song.description else {}
        return song.title, await write(account, "track", record)

    songs = dict([await publish(person, song) for person in cast for song in person.songs])
    lists: dict[str, str] = {}

    async def write_list(owner: str, name: str, kind: str, titles: Sequence[str]) -> None:
        items = [{"subject": songs[title]} for title in titles]
        record = {"name": name, "listType": kind, "items": items}
        lists[name] = (await write(accounts[owner], "list", record))["uri"]

    for person in cast:
        for album in dict.fromkeys(song.album for song in person.songs if song.album):
            await write_list(person.name, album, "album", [s.title for s in person.songs if s.album == album])
    if PLAYLIST[1] in accounts:
        await write_list(PLAYLIST[1], PLAYLIST[0], "playlist", PLAYLIST[2])
    for person in cast:
        for title in person.likes:
            await write(accounts[person.name], "like", {"subject": songs[title]})
        for title, timestamp_ms, text in person.says:
            words = {"subject": songs[title], "text": text, "timestampMs": timestamp_ms}
            await write(accounts[person.name], "comment", words)
    return Written(accounts, songs, lists)
