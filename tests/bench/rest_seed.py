"""Fills the seeded database with what REST shows besides: rendered tracks, albums, sessions, queues."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg

from indexer.rest_card import track_rest
from lexicons.syntax import AtUri, Cid, Did
from tests.bench import database
from tests.bench.activity import did
from tests.bench.seed import Size

QUEUED = 50  # tracks in each queue
CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who is signed in, and has a queue. `account`: the number of theirs."""

    account: int
    did: str
    handle: str
    key: str


def fill(dsn: str, size: Size, listeners: int) -> list[Listener]:
    """Render all tracks, and sign so many accounts in on both sides."""
    dice = random.Random(7)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("set synchronous_commit = off")
        _run(conn, "rest")
        _render(dsn, conn)
        _run(conn, "rest_filled")
        found = [
            Listener(n, did(n), f"artist{n}.plyr.example", hashlib.sha256(b"%d" % n).hexdigest()[:43])
            for n in (dice.randint(1, size.accounts) for _ in range(listeners))
        ]
        found = list({each.did: each for each in found}.values())
        for each in found:
            _sign_in(conn, each)
            _queue(conn, each, [dice.randint(1, size.tracks) for _ in range(QUEUED)])
        conn.execute("vacuum analyze session")
    return found


def fill_reads(dsn: str) -> None:
    """What all the other routes read; it would make answers of the contested ones differ."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("set synchronous_commit = off")
        _run(conn, "rest_reads")


def _render(dsn: str, conn: psycopg.Connection) -> None:
    """As the indexer does, from the columns that the cards were made of."""
    albums: dict[str, tuple[int, str, str]] = {}
    with (
        psycopg.connect(dsn) as reading,
        reading.cursor(name="tracks") as cursor,
        conn.cursor().copy("copy rest_in from stdin") as copy,
    ):
        cursor.itersize = CHUNK
        cursor.execute(
            "select t.id, r.id, r.did, r.pds, t.rkey, t.cid, t.title, t.artist, t.file_type, t.created_at,"
            " t.album, t.audio_url, t.audio_cid, t.audio_mime, t.audio_size, t.image_url, t.description"
            " from orm.track t join repo r on r.id = t.repo_id"
        )
        for id, repo_id, did_, pds, rkey, cid, *columns in cursor:
            uri = AtUri(f"at://{did_}/fm.plyr.track/{rkey}")
            made = track_rest(_record(columns), uri=uri, did=Did(did_), cid=Cid(cid), pds=pds)
            album_id = None
            if made.album is not None:
                album = orjson.loads(made.rest.rpartition('"album":')[2])
                album_id = album["id"]
                albums[album_id] = (repo_id, album["slug"], made.album)
            copy.write_row((id, made.rest, made.album, album_id, made.file_id))
    with conn.cursor().copy("copy orm.album from stdin") as copy:
        for id, (repo_id, slug, title) in albums.items():
            copy.write_row((id, repo_id, slug, title))


def _record(columns: list[Any]) -> dict[str, Any]:
    title, artist, file_type, created_at, album, audio_url, cid, mime, size, image_url, description = columns
    found = {
        "title": title,
        "artist": artist,
        "fileType": file_type,
        "createdAt": created_at,
        "album": album,
        "audioUrl": audio_url,
        "audioBlob": {"$type": "blob", "ref": {"$link": cid}, "mimeType": mime, "size": size},
        "imageUrl": image_url,
        "description": description,
    }
    return {name: value for name, value in found.items() if value is not None}


def _sign_in(conn: psycopg.Connection, listener: Listener) -> None:
    hashed = hashlib.sha256(listener.key.encode())
    until = datetime.now(UTC) + timedelta(days=1)
    conn.execute(
        "insert into session (token_hash, kind, did, scope, used_at, expires_at)"
        " values (%s, 'token', %s, 'atproto', now(), %s)",
        (hashed.digest(), listener.did, until),
    )
    conn.execute("insert into orm.session values (%s, %s, %s)", (hashed.hexdigest(), listener.did, until))


def _queue(conn: psycopg.Connection, listener: Listener, tracks: list[int]) -> None:
    rows = conn.execute("select file_id from track where id = any(%s)", (tracks,)).fetchall()
    ids = [row[0] for row in rows]
    state = {
        "track_ids": ids, "current_index": 3, "current_track_id": ids[3], "shuffle": False,
        "original_order_ids": ids,
    }  # fmt: skip
    text = orjson.dumps(state).decode()
    for table in ("queue", "orm.queue"):
        conn.execute(
            f"insert into {table} (did, state, revision) values (%s, %s, 7)",
            (listener.did, text),
        )


def _run(conn: psycopg.Connection, name: str) -> None:
    for statement in _statements(database.script(name)):
        conn.execute(statement)  # type: ignore[arg-type]


def _statements(script: str) -> Iterator[str]:
    for statement in script.split(";\n"):
        text = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
        if text.strip():
            yield text
