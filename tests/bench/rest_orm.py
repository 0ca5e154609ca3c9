"""The baseline of `rest`: the same routes with FastAPI, SQLAlchemy's ORM and Pydantic (a child process).

As `orm_server.py`, on its tables: who asks is looked up by the hash of their key, a page is one join for
tracks, authors, counters and albums, and one statement more for what the viewer likes of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from sqlalchemy import BigInteger, DateTime, ForeignKey, distinct, func, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Mapped, contains_eager, mapped_column, undefer

from tests.bench import children
from tests.bench.orm_server import Account, Base, Like, Profile, Stat, Track, serve, session

Db = Annotated[AsyncSession, Depends(session)]
PDS = "{pds}/xrpc/com.atproto.repo.getRecord?repo={did}&collection=fm.plyr.track&rkey={rkey}"


class Key(Base):
    __tablename__ = "session"
    __table_args__ = ({"schema": "orm"},)
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    did: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Album(Base):
    __tablename__ = "album"
    __table_args__ = ({"schema": "orm"},)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"))
    slug: Mapped[str]
    title: Mapped[str]


class QueueState(Base):
    __tablename__ = "queue"
    __table_args__ = ({"schema": "orm"},)
    did: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[dict[str, Any]] = mapped_column(JSONB)
    revision: Mapped[int] = mapped_column(BigInteger)


class AlbumSummary(BaseModel):
    id: str
    slug: str
    title: str
    image_url: str | None


class TrackView(BaseModel):
    id: int
    title: str
    artist: str
    artist_did: str
    artist_handle: str
    artist_avatar_url: str | None
    file_id: str
    file_type: str
    features: list[dict[str, Any]]
    r2_url: str | None
    atproto_record_uri: str | None
    atproto_record_cid: str | None
    atproto_record_url: str | None
    play_count: int
    like_count: int
    comment_count: int
    is_liked: bool
    created_at: str
    image_url: str | None
    thumbnail_url: str | None
    album: AlbumSummary | None
    description: str | None
    tags: list[str]
    copyright_flagged: bool | None
    copyright_match: str | None
    audio_storage: str
    pds_blob_cid: str | None
    visibility: str
    unlisted: bool
    gated: bool
    downloadable: bool


class Page(BaseModel):
    tracks: list[TrackView]
    next_cursor: str | None = None
    has_more: bool = False


class QueueView(BaseModel):
    state: dict[str, Any]
    revision: int
    tracks: list[TrackView]


class StatsView(BaseModel):
    total_plays: int
    total_tracks: int
    total_artists: int


class AlbumMetadata(BaseModel):
    id: str
    title: str
    slug: str
    description: str | None
    artist: str
    artist_did: str
    artist_handle: str
    track_count: int
    total_plays: int
    image_url: str | None


class AlbumView(BaseModel):
    metadata: AlbumMetadata
    tracks: list[TrackView]


def build(dsn: str) -> FastAPI:
    """The application."""
    app = FastAPI()
    app.state.sessions = async_sessionmaker(
        create_async_engine(dsn, pool_size=4, max_overflow=0), expire_on_commit=False
    )
    app.get("/tracks/")(listed)
    app.get("/tracks/liked")(liked)
    app.get("/tracks/{track_id}")(detail)
    app.get("/queue/")(queue)
    app.get("/stats")(stats)
    app.get("/albums/{handle}/{slug}")(album)
    return app


async def asker(db: Db, authorization: Annotated[str | None, Header()] = None) -> str | None:
    """The DID of who asks, if their key holds."""
    if authorization is None:
        return None
    hashed = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).hexdigest()
    found = await db.scalar(select(Key).where(Key.token_hash == hashed, Key.expires_at > func.now()))
    return None if found is None else found.did


Viewer = Annotated[str | None, Depends(asker)]
_TRACKS = (
    select(Track, Album)
    .join(Track.author)
    .join(Account.profile)
    .join(Track.stat)
    .outerjoin(Album, Album.id == Track.album_id)
    .options(
        contains_eager(Track.author).options(undefer(Account.pds), contains_eager(Account.profile)),
        contains_eager(Track.stat),
        undefer(Track.file_id),
    )
    .where(Profile.hidden.is_(False))
)


async def listed(db: Db, viewer: Viewer, limit: int = 50, cursor: str | None = None) -> Page:
    """The newest tracks."""
    statement = _TRACKS.order_by(Track.sort_at.desc(), Track.id.desc()).limit(limit + 1)
    if cursor is not None:
        moment, _, number = cursor.partition(":")
        before = datetime.fromtimestamp(int(moment) / 1e6, UTC)
        statement = statement.where(tuple_(Track.sort_at, Track.id) < (before, int(number)))
    rows = [(track, album) for track, album in (await db.execute(statement)).all()]
    more, rows = len(rows) > limit, rows[:limit]
    last = rows[-1][0] if more else None
    return Page(
        tracks=await _views(db, rows, viewer),
        next_cursor=last and f"{int(last.sort_at.timestamp() * 1e6)}:{last.id}",
        has_more=more,
    )


async def liked(db: Db, viewer: Viewer, limit: int = 50) -> Page:
    """What the viewer likes."""
    if viewer is None:
        raise HTTPException(401)
    mine = select(Account.id).where(Account.did == viewer).scalar_subquery()
    statement = (
        _TRACKS.join(Like, Like.track_id == Track.id)
        .where(Like.repo_id == mine)
        .order_by(Like.sort_at.desc(), Like.rkey.desc())
        .limit(limit + 1)
    )
    rows = [(track, album) for track, album in (await db.execute(statement)).all()]
    return Page(tracks=await _views(db, rows[:limit], viewer), has_more=len(rows) > limit)


async def detail(db: Db, viewer: Viewer, track_id: int) -> TrackView:
    row = (await db.execute(_TRACKS.where(Track.id == track_id))).one_or_none()
    if row is None:
        raise HTTPException(404, "track not found")
    return (await _views(db, [(row[0], row[1])], viewer))[0]


async def queue(db: Db, viewer: Viewer) -> QueueView:
    """The viewer's queue, with its tracks in their order."""
    if viewer is None:
        raise HTTPException(401)
    kept = await db.get(QueueState, viewer)
    if kept is None:
        return QueueView(state={}, revision=0, tracks=[])
    ids: list[str] = kept.state["track_ids"]
    rows = (await db.execute(_TRACKS.where(Track.file_id.in_(ids)))).all()
    by_file = {track.file_id: (track, album) for track, album in rows}
    tracks = await _views(db, [by_file[id] for id in ids if id in by_file], viewer)
    return QueueView(state=kept.state | {"auto_advance": True}, revision=kept.revision, tracks=tracks)


async def stats(db: Db) -> StatsView:
    """Counted when asked for, as long as nothing counts on the way."""
    plays = await db.scalar(select(func.sum(Stat.plays)))
    tracks, artists = (
        await db.execute(select(func.count(Track.id), func.count(distinct(Track.repo_id))))
    ).one()
    return StatsView(total_plays=int(plays or 0), total_tracks=tracks, total_artists=artists)


async def album(db: Db, viewer: Viewer, handle: str, slug: str) -> AlbumView:
    """An album with its tracks."""
    found = await db.scalar(
        select(Album)
        .join(Account, Account.id == Album.repo_id)
        .where(Account.handle == handle, Album.slug == slug)
    )
    if found is None:
        raise HTTPException(404, "album not found")
    statement = _TRACKS.where(Track.album_id == found.id).order_by(Track.sort_at, Track.id)
    rows = [(track, album) for track, album in (await db.execute(statement)).all()]
    tracks = await _views(db, rows, viewer)
    first = tracks[0]
    metadata = AlbumMetadata(
        id=str(found.id),
        title=found.title,
        slug=found.slug,
        description=None,
        artist=first.artist,
        artist_did=first.artist_did,
        artist_handle=first.artist_handle,
        track_count=len(tracks),
        total_plays=sum(track.play_count for track in tracks),
        image_url=first.image_url,
    )
    return AlbumView(metadata=metadata, tracks=tracks)


async def _views(
    db: AsyncSession, rows: Sequence[tuple[Track, Album | None]], viewer: str | None
) -> list[TrackView]:
    liked: set[int] = set()
    if viewer is not None:
        mine = select(Account.id).where(Account.did == viewer).scalar_subquery()
        ids = [track.id for track, _ in rows]
        likes = await db.scalars(select(Like.track_id).where(Like.repo_id == mine, Like.track_id.in_(ids)))
        liked = set(likes)
    return [_view(track, album, track.id in liked) for track, album in rows]


def _view(track: Track, album: Album | None, is_liked: bool) -> TrackView:
    author, profile, stat = track.author, track.author.profile, track.stat
    summary = None
    if album is not None:
        image = track.image_url or profile.avatar
        summary = AlbumSummary(id=str(album.id), slug=album.slug, title=album.title, image_url=image)
    return TrackView(
        id=track.id,
        title=track.title,
        artist=profile.display_name or author.handle or "handle.invalid",
        artist_did=author.did,
        artist_handle=author.handle or "handle.invalid",
        artist_avatar_url=profile.avatar,
        file_id=track.file_id or "",
        file_type=track.file_type,
        features=[],
        r2_url=track.audio_url,
        atproto_record_uri=f"at://{author.did}/fm.plyr.track/{track.rkey}",
        atproto_record_cid=track.cid,
        atproto_record_url=PDS.format(pds=author.pds, did=author.did, rkey=track.rkey),
        play_count=stat.plays,
        like_count=stat.likes,
        comment_count=stat.comments,
        is_liked=is_liked,
        created_at=track.created_at,
        image_url=track.image_url,
        thumbnail_url=track.image_url,
        album=summary,
        description=track.description,
        tags=[],
        copyright_flagged=None,
        copyright_match=None,
        audio_storage="both" if track.audio_cid and track.audio_url else "r2",
        pds_blob_cid=track.audio_cid,
        visibility="public",
        unlisted=False,
        gated=False,
        downloadable=True,
    )


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(children.read_task(), build))
