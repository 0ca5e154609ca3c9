"""The published Python client against us, on a real PDS: all that it can do, and its command line."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App
from plyrfm import AsyncPlyrClient, PlyrClient, PublishingDefaults, TrackPatch
from plyrfm._internal.config import Settings
from plyrfm._internal.types import ArtistProfilePatch
from plyrfm.cli import app as command_line

from tests.acceptance.service import until
from tests.acceptance.test_devnet_tracks import picture
from tests.acceptance.test_rest_contract import developer_token
from tests.acceptance.town import Town
from tests.devnet.network import Account
from tests.integration.appview.auth.test_sessions_devnet import Browser
from tests.music import aiff, music

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(420)]

Call = Callable[..., Awaitable[Any]]


@dataclass
class Artist:
    """Somebody with a token, two sounds and a picture. `called`: how often what was, by way."""

    town: Town
    account: Account
    settings: Settings
    sounds: tuple[Path, Path]
    picture: Path
    folder: Path
    called: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def calling(self, way: str, client: PlyrClient | AsyncPlyrClient) -> Call:
        """Calls by name what the client does, in a thread of its own where it would block."""

        async def call(name: str, /, *args: Any, **options: Any) -> Any:
            self.called[name][way] += 1
            method: Any = client
            for step in name.split("."):
                method = getattr(method, step)
            if inspect.iscoroutinefunction(method):
                return await method(*args, **options)
            return await asyncio.to_thread(method, *args, **options)

        return call

    async def sounds_like(self, id: int, file_id: str) -> None:
        """Returns once it does: an earlier sound comes back by a job, as any other sound comes."""

        async def heard() -> bool:
            return await self.town.fact("select file_id from track where id = %s", id) == file_id

        await until(heard, 60, "the track to have its sound again")

    async def run(self, command: str, *args: object) -> str:
        """What a command of the client prints, in one line; it has to end well."""
        self.called[command]["command line"] += 1
        environ = os.environ | {
            "PLYR_API_URL": self.settings.api_url,
            "PLYR_TOKEN": self.settings.token or "",
            "COLUMNS": "300",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "plyrfm.cli",
            *command.split(" "),
            *map(str, args),
            cwd=self.folder,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        said = " ".join(out.decode().split())
        assert process.returncode == 0, f"{command} {args}: {said}"
        return said


@asynccontextmanager
async def artist(town: Town, tmp_path: Path) -> AsyncIterator[Artist]:
    account = await town.net.account("ann")
    async with Browser(town.url) as browser:
        assert (await browser.sign_in(account)).status == 303
        made = await browser.ask("POST", "/artists/", json={"display_name": "Ann"})
        assert made.status == 200, made.body
        token = await developer_token(browser, account, "plyrfm")
    cover = tmp_path / "cover.png"
    cover.write_bytes(picture("red"))
    one, two = aiff(tmp_path / "one.aiff", music(2)), aiff(tmp_path / "two.aiff", music(3, seed=2))

    async def named() -> bool:
        return await town.fact("select handle from repo where did = %s", account.did) == account.handle

    await until(named, 30, "the handle to be known")
    settings = Settings(token=token, api_url=town.url)
    yield Artist(town, account, settings, (one, two), cover, tmp_path)


def offered(client: PlyrClient | AsyncPlyrClient) -> set[str]:
    """All that a client can be asked to do, as `namespace.method`."""
    names = {name for name, _ in inspect.getmembers(client, inspect.ismethod)}
    for space, namespace in vars(client).items():
        if not space.startswith("_"):
            names |= {f"{space}.{name}" for name, _ in inspect.getmembers(namespace, inspect.ismethod)}
    return {name for name in names if not any(part.startswith("_") for part in name.split("."))}


def commands(app: App, before: tuple[str, ...] = ()) -> Iterator[str]:
    """All commands of a command line, with the words that lead to them."""
    for name in app:
        if not name.startswith("-"):
            words = (*before, name)
            below = list(commands(app[name], words))
            yield from below or [" ".join(words)]


def table(called: dict[str, Counter[str]]) -> str:
    ways = ("sync", "async", "command line")
    rows = [f"{'method or command':<28}" + "".join(f"{way:>14}" for way in ways)]
    for name in sorted(called):
        rows.append(f"{name:<28}" + "".join(f"{called[name][way] or '-':>14}" for way in ways))
    return "\n".join(rows)


async def test_all_that_the_published_client_can_do(
    town: Town, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    async with artist(town, tmp_path) as ann:
        with PlyrClient(settings=ann.settings) as client:
            can = offered(client)
            await _by_calls(ann, ann.calling("sync", client), "sync")
        async with AsyncPlyrClient(settings=ann.settings) as client:
            assert offered(client) == can
            await _by_calls(ann, ann.calling("async", client), "async")
        await _by_commands(ann)
    measured(f"the published client, calls by method:\n{table(ann.called)}")
    for way, names in (("sync", can), ("async", can), ("command line", set(commands(command_line)))):
        assert names == {name for name, ways in ann.called.items() if ways[way]}, way


async def _by_calls(ann: Artist, call: Call, way: str) -> None:
    assert (await call("me"))["did"] == ann.account.did
    id = await _tracks(ann, call, way)
    await _playlists(ann, call, way, id)
    await _around(ann, call, way, id)
    await call("tracks.delete", id)
    assert [each.id for each in await call("tracks.my")] == []
    await call("close")


async def _tracks(ann: Artist, call: Call, way: str) -> int:
    """The id of a track that was uploaded, changed, replaced, restored and liked."""
    one, two = ann.sounds
    sent = await call(
        "tracks.upload",
        one,
        f"Dawn {way}",
        album=f"Days {way}",
        tags={"Ambient", way},
        publishing=PublishingDefaults(),
        description="In the morning.",
    )
    track = await call("tracks.get", sent.track_id)
    assert (track.title, track.album.title) == (f"Dawn {way}", f"Days {way}")
    assert (set(track.tags), track.description) == ({"ambient", way}, "In the morning.")
    assert (track.artist_handle, track.file_type) == (ann.account.handle, "mp3")
    assert await call("tracks.get", track.atproto_uri) == track
    assert await call("tracks.get_by_uri", track.atproto_uri) == track
    for listing in ("tracks.list", "tracks.my"):
        assert track in await call(listing, limit=5)

    await call("tracks.like", track.atproto_uri)
    [liked] = await call("tracks.liked")
    assert (liked.id, liked.like_count) == (track.id, 1)
    [top] = await call("discover.top_tracks", limit=3)
    assert (top.id, top.like_count) == (track.id, 1)
    await call("tracks.unlike", track.id)
    assert await call("tracks.liked") == []

    plain = TrackPatch(title=f"Dusk {way}", album="Nights", tags=["dub", way], description="")
    changed = await call("tracks.update", track.id, plain)
    assert (changed.title, changed.album.title, changed.image_url) == (f"Dusk {way}", "Nights", None)
    assert (set(changed.tags), changed.description) == ({"dub", way}, None)
    pictured = await call("tracks.update", track.id, TrackPatch(image=ann.picture))
    assert pictured.image_url is not None
    assert (pictured.title, set(pictured.tags)) == (changed.title, {"dub", way})

    again = await call("tracks.replace_audio", track.id, two)
    assert (again.track_id, again.title) == (track.id, f"Dusk {way}")
    replaced = await call("tracks.get", track.id)
    assert replaced.file_id != track.file_id
    [before] = await call("tracks.revisions", track.id)
    assert (before.track_id, before.duration) == (track.id, 2)
    assert (await call("tracks.restore_revision", track.id, before.id)).track_id == track.id
    await ann.sounds_like(track.id, track.file_id)
    [displaced, _] = await call("tracks.revisions", track.id)
    assert displaced.duration == 3

    saved = await call("tracks.download", track.id, ann.folder / f"{way}.mp3")
    assert saved.stat().st_size > 10_000
    return track.id


async def _playlists(ann: Artist, call: Call, way: str, id: int) -> None:
    made = await call("playlists.create", f"road {way}")
    assert (made.name, made.owner_did, made.track_count) == (f"road {way}", ann.account.did, 0)
    assert (await call("playlists.add_track", made.id, id)).track_count == 1
    whole = await call("playlists.get", made.id)
    assert ([each.id for each in whole.tracks], whole.owner_handle) == ([id], ann.account.handle)
    assert [each.id for each in await call("playlists.list")] == [made.id]
    assert await call("playlists.by_artist", ann.account.did) == []
    shown = await call("playlists.update", made.id, name=f"home {way}", show_on_profile=True)
    assert (shown.name, shown.show_on_profile, shown.track_count) == (f"home {way}", True, 1)
    assert [each.id for each in await call("playlists.by_artist", ann.account.did)] == [made.id]
    assert (await call("playlists.recommendations", made.id)).tracks == []
    assert (await call("playlists.remove_track", made.id, id)).track_count == 0
    await call("playlists.delete", made.id)
    assert await call("playlists.list") == []


async def _around(ann: Artist, call: Call, way: str, id: int) -> None:
    assert {each.name: each.track_count for each in await call("tags.list", limit=10)} == {"dub": 1, way: 1}
    assert [each.name for each in await call("tags.list", q=way)] == [way]
    assert [each.id for each in await call("tags.tracks", way)] == [id]
    bio = f"sings {way}"
    patch = ArtistProfilePatch(
        bio=bio,
        display_name=f"Ann {way}",
        support_url="https://support.test/ann",
        show_liked_on_profile=True,
    )
    changed = await call("artists.update", patch)
    assert (changed.bio, changed.display_name) == (bio, f"Ann {way}")
    assert await call("artists.me") == changed
    found = await call("discover.search", f"Dusk {way}", limit=10)
    assert ("track", id) in {(each.type, getattr(each, "id", None)) for each in found.results}
    assert found.counts["tracks"] == 1
    assert (await call("discover.search", f"Dusk {way}", type="tag")).results == []


async def _by_commands(ann: Artist) -> None:
    run, (one, two) = ann.run, ann.sounds
    assert ann.account.did in await run("me")
    said = await run(
        "tracks upload",
        one,
        "Noon",
        *("--album", "Days", "--tag", "dub", "-t", "noon", "--description", "Hot.", "--publishing", "{}"),
    )
    found = re.search(r"uploaded: track (\d+)", said)
    assert found, said
    id = found[1]
    first = await ann.town.fact("select file_id from track where id = %s", id)
    got = await run("tracks get", id)
    assert f"Noon by {ann.account.handle}" in got or "Noon by Ann" in got
    uri = re.search(r"uri: (at://\S+)", got)
    assert uri, got
    assert "album: Days" in await run("tracks get", uri[1])
    for listing in ("tracks list", "tracks my"):
        assert "Noon" in await run(listing, "--limit", 5)
    assert "liked track" in await run("tracks like", uri[1])
    for listing in ("tracks liked", "discover top"):
        assert "Noon" in await run(listing, "--limit", 5)
    assert "unliked" in await run("tracks unlike", id)
    assert await run("tracks liked") == "no liked tracks"
    changed = await run(
        "tracks update", id, "--title", "Midday", "--tags", "hot, dub", "--image", ann.picture
    )
    assert changed.startswith("updated: Midday tags: ")
    assert f"replaced audio: track {id}" in await run("tracks replace-audio", id, two)
    revision = re.search(r" (\d+) │ 20", await run("tracks revisions", id))
    assert revision
    assert f"restored revision {revision[1]}" in await run("tracks restore-revision", id, revision[1], "-y")
    await ann.sounds_like(int(id), first)
    assert "saved: noon.mp3" in await run("tracks download", id, "-o", "noon.mp3")
    assert (ann.folder / "noon.mp3").stat().st_size > 10_000

    made = re.search(r"created: road \((\S+)\)", await run("playlists create", "road"))
    assert made
    playlist = made[1]
    assert "added track to road (1 tracks)" in await run("playlists add-track", playlist, id)
    assert "Midday" in await run("playlists get", playlist)
    assert playlist in await run("playlists list")
    assert "updated: home" in await run("playlists update", playlist, "--name", "home", "--show-on-profile")
    assert "removed track from home (0 tracks)" in await run("playlists remove-track", playlist, uri[1])
    assert await run("playlists delete", playlist, "--yes") == "deleted"

    assert "#hot" in await run("tags list", "--q", "ho")
    assert "Midday" in await run("tags get", "hot")
    assert "bio: hums" in await run("artists update", "--bio", "hums")
    assert f"handle: {ann.account.handle}" in await run("artists me")
    assert f"track {id}: Midday" in await run("discover search", "midday")
    assert await run("tracks delete", id, "-y") == "deleted: Midday"
    assert await run("tracks my") == "no tracks found"
