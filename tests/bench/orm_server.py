"""The baseline of (d): the same listing with FastAPI, SQLAlchemy's async ORM and Pydantic (a child process).

Written as such services are, and in each choice that they leave, the faster one: counters are
columns, only the viewer's likes of this page are asked for, author and counters come in one
join, pages are keyset pages, SQLAlchemy caches its compiled statements, uvicorn runs on uvloop
and httptools without an access log. It answers with the members of `#trackView`.
"""

# ruff: noqa: N815  (views are named as the lexicon names them)
from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, Header, Request
from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, DateTime, ForeignKey, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, contains_eager, mapped_column, relationship

from tests.bench import children


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "repo"
    id: Mapped[int] = mapped_column(primary_key=True)
    did: Mapped[str]
    handle: Mapped[str | None]
    pds: Mapped[str | None] = mapped_column(deferred=True)
    profile: Mapped[Profile] = relationship(lazy="raise")


class Profile(Base):
    __tablename__ = "profile"
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"), primary_key=True)
    hidden: Mapped[bool]
    display_name: Mapped[str | None]
    avatar: Mapped[str | None]


class Stat(Base):
    __tablename__ = "track_stat"
    id: Mapped[int] = mapped_column(BigInteger, ForeignKey("orm.track.id"), primary_key=True)
    likes: Mapped[int]
    comments: Mapped[int]
    plays: Mapped[int]


class Track(Base):
    __tablename__ = "track"
    __table_args__ = ({"schema": "orm"},)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey("repo.id"))
    rkey: Mapped[str]
    cid: Mapped[str]
    title: Mapped[str]
    artist: Mapped[str]
    file_type: Mapped[str]
    album: Mapped[str | None]
    duration: Mapped[int | None]
    audio_url: Mapped[str | None]
    audio_cid: Mapped[str | None]
    audio_mime: Mapped[str | None]
    audio_size: Mapped[int | None]
    image_url: Mapped[str | None]
    description: Mapped[str | None]
    created_at: Mapped[str]
    sort_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    indexed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    file_id: Mapped[str | None] = mapped_column(deferred=True)
    album_id: Mapped[UUID | None] = mapped_column(deferred=True)
    author: Mapped[Account] = relationship(lazy="raise")
    stat: Mapped[Stat] = relationship(lazy="raise")


class Like(Base):
    __tablename__ = "like"
    repo_id: Mapped[int] = mapped_column(primary_key=True)
    track_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    rkey: Mapped[str] = mapped_column(primary_key=True)
    sort_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), deferred=True)


class AuthorView(BaseModel):
    did: str
    handle: str
    displayName: str | None = None
    avatar: str | None = None


class BlobLink(BaseModel):
    link: str = Field(serialization_alias="$link")


class Blob(BaseModel):
    type: str = Field(default="blob", serialization_alias="$type")
    ref: BlobLink
    mimeType: str
    size: int


class Record(BaseModel):
    type: str = Field(default="fm.plyr.track", serialization_alias="$type")
    title: str
    artist: str
    fileType: str
    album: str | None = None
    duration: int | None = None
    audioUrl: str | None = None
    audioBlob: Blob | None = None
    imageUrl: str | None = None
    description: str | None = None
    createdAt: str


class AudioView(BaseModel):
    url: str | None = None
    mimeType: str | None = None
    durationS: int | None = None


class StatsView(BaseModel):
    plays: int
    likes: int
    comments: int


class ViewerView(BaseModel):
    like: str | None = None


class TrackView(BaseModel):
    uri: str
    cid: str
    id: int
    author: AuthorView
    record: Record
    audio: AudioView
    image: str | None = None
    stats: StatsView
    labels: list[str] = Field(default_factory=list[str])
    viewer: ViewerView | None = None
    indexedAt: str
    verified: bool


class Page(BaseModel):
    tracks: list[TrackView]
    cursor: str | None = None


def build(dsn: str) -> FastAPI:
    """The application."""
    engine = create_async_engine(dsn, pool_size=4, max_overflow=0)
    app = FastAPI()
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.get("/feed", response_model_exclude_none=True)(feed)
    return app


async def session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as opened:
        yield opened


async def feed(
    db: Annotated[AsyncSession, Depends(session)],
    limit: int = 50,
    cursor: str | None = None,
    x_viewer: Annotated[str | None, Header()] = None,
) -> Page:
    """The newest tracks, fifty of them, and which of them the viewer likes."""
    statement = (
        select(Track)
        .join(Track.author)
        .join(Account.profile)
        .join(Track.stat)
        .options(contains_eager(Track.author).contains_eager(Account.profile), contains_eager(Track.stat))
        .where(Profile.hidden.is_(False))
        .order_by(Track.sort_at.desc(), Track.id.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        moment, _, number = cursor.partition(":")
        before = datetime.fromtimestamp(int(moment) / 1e6, UTC)
        statement = statement.where(tuple_(Track.sort_at, Track.id) < (before, int(number)))
    tracks = list((await db.scalars(statement)).all())
    more, tracks = len(tracks) > limit, tracks[:limit]
    liked: dict[int, str] = {}
    if x_viewer is not None:
        viewer = select(Account.id).where(Account.did == x_viewer).scalar_subquery()
        likes = select(Like).where(Like.repo_id == viewer, Like.track_id.in_([track.id for track in tracks]))
        liked = {
            like.track_id: f"at://{x_viewer}/fm.plyr.like/{like.rkey}" for like in await db.scalars(likes)
        }
    views = [_view(track, liked.get(track.id), signed_in=x_viewer is not None) for track in tracks]
    last = tracks[-1] if more else None
    return Page(tracks=views, cursor=last and f"{int(last.sort_at.timestamp() * 1e6)}:{last.id}")


def _view(track: Track, like: str | None, *, signed_in: bool) -> TrackView:
    author, profile, stat = track.author, track.author.profile, track.stat
    blob = None
    if track.audio_cid is not None:
        blob = Blob(
            ref=BlobLink(link=track.audio_cid), mimeType=track.audio_mime or "", size=track.audio_size or 0
        )
    return TrackView(
        uri=f"at://{author.did}/fm.plyr.track/{track.rkey}",
        cid=track.cid,
        id=track.id,
        author=AuthorView(
            did=author.did,
            handle=author.handle or "handle.invalid",
            displayName=profile.display_name,
            avatar=profile.avatar,
        ),
        record=Record(
            title=track.title,
            artist=track.artist,
            fileType=track.file_type,
            album=track.album,
            duration=track.duration,
            audioUrl=track.audio_url,
            audioBlob=blob,
            imageUrl=track.image_url,
            description=track.description,
            createdAt=track.created_at,
        ),
        audio=AudioView(url=track.audio_url, mimeType=track.audio_mime, durationS=track.duration),
        image=track.image_url,
        stats=StatsView(plays=stat.plays, likes=stat.likes, comments=stat.comments),
        viewer=ViewerView(like=like) if signed_in else None,
        indexedAt=track.indexed_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        verified=True,
    )


async def serve(task: dict[str, Any], build: Callable[[str], FastAPI] = build) -> None:
    """Answers on a free port until standard input closes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    dsn = task["dsn"].replace("postgresql://", "postgresql+asyncpg://")
    config = uvicorn.Config(build(dsn), http="httptools", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    children.say({"port": listener.getsockname()[1], "pid": os.getpid()})
    await children.until_input_closes()
    server.should_exit = True
    await serving


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(children.read_task()))
