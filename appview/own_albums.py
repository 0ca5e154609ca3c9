"""Albums, made and changed in their artist's name.

    create    a name that none of theirs has ─▶ an empty list
    order     its list, made of its tracks where there is none ─▶ these tracks first
    rename    its list ─▶ its tracks' own words ─▶ the list's
    take_off  the list without the track ─▶ the track without the album
    delete    its tracks, or what they say of it ─▶ the list

Each is several records, written one after the other. Whoever dies in between leaves an album that can be seen
and changed: said again, the same change goes on where it was left.
"""

from __future__ import annotations

from collections.abc import Sequence

from appview.list_record import NotThere, item, led_by, new_list, renamed, without
from appview.media.attempt import Place
from appview.media.track_record import Edit, edited
from appview.own_records import OwnRecords
from appview.own_tracks import NoSuchTrack, OwnTracks
from appview.records import Away, Put, Record, WriteFailed, fresh_rkey, now_text
from indexer.albums import ALBUM, album_id, slug
from lexicons.syntax import Did, Rkey
from storage import albums, list_look, people
from storage.albums import AlbumRow, Member
from storage.postgres import Connection
from storage.reader import Reads


class NameTaken(Exception):
    """Another album of theirs has this name."""


class NoTracks(Exception):
    """Some of the tracks are not there; `ids`."""

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__(str(list(ids)))
        self.ids = list(ids)


class NotOnAlbum(NoTracks):
    """Some of the tracks are not on this album."""


class OwnAlbums:
    """One artist's, through the grant of one session."""

    def __init__(self, place: Place, reads: Reads, session_id: int, did: Did) -> None:
        self._place = place
        self._reads = reads
        self._did = did
        self._lists = OwnRecords(place, session_id, did, place.catalog.collections.list)
        self._tracks = OwnTracks(place, session_id, did)

    async def create(self, title: str) -> str:
        """The id of the new album. Raises NameTaken, InvalidRecord, WriteFailed."""
        id = album_id(self._did, slug(title))
        await self._listed(id, title)
        return id

    async def order(self, album: AlbumRow, ids: Sequence[int]) -> None:
        """These tracks first, in this order. Raises NoTracks, NotOnAlbum, ListFull, NoSuchRecord,
        WriteFailed."""
        wanted = {each.id: each for each in await albums.named(self._reads, album, ids)}
        if missing := [id for id in ids if id not in wanted]:
            raise NoTracks(missing)
        on = {each.id for each in await albums.members(self._reads, album)}
        if others := [id for id in ids if id not in on and not wanted[id].named]:
            raise NotOnAlbum(others)
        first = [item(wanted[id].uri, wanted[id].cid) for id in dict.fromkeys(ids)]
        rkey, catalog = await self._list_of(album), self._place.catalog
        await self._lists.rewrite(rkey, lambda record: led_by(catalog, rkey, record, first, now_text()))

    async def rename(self, album: AlbumRow, title: str) -> Rkey:
        """The key of its list. Raises NameTaken, ListFull, InvalidRecord, NoSuchRecord, WriteFailed."""
        catalog, base = self._place.catalog, album_id(self._did, slug(title))
        # Tracks may have longer words for it than lists: none of them is called otherwise in vain.
        new_list(catalog, fresh_rkey(), ALBUM, title, [], now_text())
        await self._check_free(base, album)
        rkey = await self._list_of(album)
        if album.rkey is None:  # its tracks are in a list now
            album = await self._find(album.base) or album
        async with self._place.turns.take(self._place.pool, self._did, f"album {base}"):
            await self._check_free(base, album)
            for track in await albums.members(self._reads, album):
                if track.own and track.named:
                    await self._say(track, title)

            async def effect(conn: Connection, _put: Put, _newest: Record) -> None:
                if album.rank == 1:  # what it got before another app made a list of it
                    await list_look.move(conn, self._did, album.base, rkey)

            await self._lists.rewrite(
                rkey, lambda record: renamed(catalog, rkey, record, title, now_text()), effect=effect
            )
        return rkey

    async def take_off(self, album: AlbumRow, track_id: int) -> None:
        """Raises NotOnAlbum, WriteFailed."""
        found = [each for each in await albums.members(self._reads, album) if each.id == track_id]
        if not found:
            raise NotOnAlbum([track_id])
        [track] = found
        if album.rkey is not None:
            rkey, catalog = album.rkey, self._place.catalog

            def change(record: Record) -> Record:
                try:
                    return without(catalog, rkey, record, track.uri, now_text())
                except NotThere:
                    return record

            await self._lists.rewrite(rkey, change)
        if track.own and track.named:
            await self._say(track, "")

    async def delete(self, album: AlbumRow, *, cascade: bool) -> None:
        """Its tracks stay, and name it no more; with `cascade` those of its artist go, too. Raises
        WriteFailed."""
        for track in await albums.members(self._reads, album):
            if track.own and cascade:
                await self._tracks.delete(track.rkey)
            elif track.own and track.named:
                await self._say(track, "")
        if album.rank == 1:  # else that is how the first of its name looks
            async with self._place.pool.connection() as conn, conn.transaction():
                await list_look.remove(conn, self._did, album.base)
        if album.rkey is not None:
            rkey = album.rkey
            await self._lists.remove(rkey, effect=lambda conn: list_look.remove(conn, self._did, rkey))

    async def _check_free(self, base: str, album: AlbumRow) -> None:
        """Raises NameTaken where that is the id of another album, other than of those of its own tracks that
        had the new name already when a change of it was broken off."""
        other = None if base == album.base else await self._find(base)
        if other is None:
            return
        ours = {each.id for each in await albums.members(self._reads, album)}
        theirs = {each.id for each in await albums.members(self._reads, other)}
        if other.rkey is not None or not theirs <= ours:
            raise NameTaken

    async def _say(self, track: Member, title: str) -> None:
        """Have the track name this album, or none."""
        try:
            await self._tracks.rewrite(
                track.rkey,
                lambda record: edited(self._place.catalog, track.rkey, record, Edit(album=title)),
            )
        except NoSuchTrack:
            return  # deleted meanwhile: it names nothing

    async def _list_of(self, album: AlbumRow) -> Rkey:
        """The key of its list, which is made where it has none yet."""
        return album.rkey or await self._listed(album.base, album.title, album)

    async def _listed(self, id: str, title: str, album: AlbumRow | None = None) -> Rkey:
        """The key of a new list; of an album that had none, with its tracks in it, and the list of somebody
        who was faster will do."""
        place, did = self._place, self._did
        async with place.turns.take(place.pool, did, f"album {id}", rkey=fresh_rkey()) as turn:
            rkey = turn.rkey
            assert rkey is not None
            found = await self._find(id)
            if found is not None and album is None:
                turn.open = turn.open and found.rkey != rkey
                raise NameTaken
            if found is not None and found.rkey is not None:
                turn.open = turn.open and found.rkey != rkey
                return found.rkey
            tracks = [] if album is None else await albums.members(self._reads, album)
            items = [item(each.uri, each.cid) for each in tracks]
            record = new_list(place.catalog, rkey, ALBUM, title, items, now_text())
            before, turn.open = turn.open, True

            async def effect(conn: Connection, _put: Put, _newest: Record) -> None:
                await list_look.move(conn, did, id, rkey)
                await turn.end(conn)

            try:
                await self._lists.write(rkey, record, effect=effect)
            except WriteFailed as error:
                turn.open = before or isinstance(error, Away)
                raise
            return rkey

    async def _find(self, id: str) -> AlbumRow | None:
        actor = await people.actor(self._reads, self._did)
        return None if actor is None else await albums.get(self._reads, actor.repo_id, id)
