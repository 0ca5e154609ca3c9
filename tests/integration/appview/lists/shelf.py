"""Ana, who has tracks on her PDS, and a server at which she makes albums and playlists of them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from appview.media.attempt import Place
from appview.media.serve import ALONE
from appview.media.signed import Links
from appview.rest.actors import Actors
from appview.rest.album_edits import AlbumEdits
from appview.rest.albums import Albums, Shown
from appview.rest.asker import Asker
from appview.rest.media import Media
from appview.rest.pictures import Pictures
from appview.rest.playlist_edits import PlaylistEdits
from appview.rest.playlists import Playlists, ShownLists
from appview.sound_origins import ANYWHERE, SoundOrigins
from lexicons.syntax import Did
from storage.reader import Reads
from tests.fakenet.world import LIST, TRACK, track
from tests.integration.appview.service import Answer, viewer_of
from tests.integration.appview.social.square import CATALOG, Square, squared
from tests.integration.appview.test_media import RING

MIB = 1 << 20


@dataclass
class Shelf:
    square: Square

    @property
    def ana(self) -> Did:
        return self.square.ana.did

    async def ask(self, method: str, path: str, who: Did | None = None, **options: Any) -> Answer:
        return await self.square.ask(method, path, who, **options)

    async def told(self, method: str, path: str, shape: Any, who: Did | None = None, **options: Any) -> Any:
        """What is answered to what must succeed."""
        answer = await self.ask(method, path, who, **options)
        assert answer.status == 200, answer.body
        msgspec.json.decode(answer.body, type=shape)
        return answer.json

    async def refused(
        self, method: str, path: str, who: Did | None = None, **options: Any
    ) -> tuple[int, Any]:
        answer = await self.ask(method, path, who, **options)
        assert answer.status >= 400, answer.body
        return answer.status, answer.json["detail"]

    async def publish(self, did: Did, rkey: str, title: str, **more: Any) -> int:
        """The number of a track that they wrote by another app."""
        await self.square.echo(self.square.pds.write(did, "create", TRACK, rkey, track(title, **more)))
        [(id,)] = await self.square.rows(
            "select id from track_uri where uri = %s", f"at://{did}/{TRACK}/{rkey}"
        )
        return id

    def lists(self, did: Did) -> list[dict[str, Any]]:
        return list(self.square.pds.records(did, LIST).values())

    def tracks(self, did: Did) -> dict[str, dict[str, Any]]:
        return self.square.pds.records(did, TRACK)

    async def proven(self) -> None:
        """The firehose brings all that was written, and changes nothing."""
        before = await self.square.rows("select rkey, name, items from list order by rkey")
        await self.square.echoes(self.square.pds.people)
        assert await self.square.rows("select rkey, name, items from list order by rkey") == before
        assert await self.square.rows("select 1 from record where not verified") == []


@asynccontextmanager
async def shelved(dsn: str, folder: Path, *, servers: int = 1) -> AsyncIterator[Shelf]:
    def more(reads: Reads, actors: Actors, place: Place) -> list[Any]:
        shown = Shown(reads, "https://plyr.test", CATALOG.collections, SoundOrigins([ANYWHERE]))
        lists, pictures = ShownLists(reads, shown, CATALOG.collections), Pictures(place, MIB)
        asker = Asker(reads, actors.desk, viewer_of)
        return [
            Albums(shown, asker),
            AlbumEdits(shown, actors, place, pictures),
            Playlists(lists, actors, asker),
            PlaylistEdits(lists, actors, place, pictures),
            Media(reads, place.store, Links(RING), ALONE, SoundOrigins([ANYWHERE])),
        ]

    async with squared(dsn, folder, more=more, servers=servers) as square:
        yield Shelf(square)


def picture(colour: str, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (200, 200), colour).save(out, form)
    return out.getvalue()
