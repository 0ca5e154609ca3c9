"""A small world written straight into the tables, with counters that a recount would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from indexer.albums import album_id, slug
from indexer.cards import members, profile_card
from indexer.rest_card import track_rest
from lexicons.catalog import Catalog
from lexicons.datamodel import cid_of, encode
from lexicons.syntax import AtUri, Cid, Did, Handle, tid_from_us
from storage.search import fold

START = datetime(2026, 3, 1, tzinfo=UTC)
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def did_of(number: int) -> Did:
    """A did:plc that looks like a real one."""
    digits = ""
    for _ in range(24):
        number, digit = divmod(number, 32)
        digits = _LETTERS[digit] + digits
    return Did("did:plc:" + digits)


class Seed:
    """Writes rows; `commit` makes them seen and brings the counters up to date."""

    def __init__(self, dsn: str, catalog: Catalog) -> None:
        self.conn = psycopg.connect(dsn)
        self._collections = catalog.collections
        self._serial = 0
        self.dids: dict[int, Did] = {}

    def close(self) -> None:
        self.conn.close()

    def _insert(self, statement: Any, values: Sequence[Any]) -> int:
        row = self.conn.execute(statement, values).fetchone()
        assert row is not None
        return row[0]

    def _next(self) -> tuple[str, datetime]:
        """A fresh record key, and the time that it stands for: a minute after the last."""
        self._serial += 1
        moment = START + timedelta(minutes=self._serial)
        return tid_from_us(int(moment.timestamp() * 1_000_000), self._serial % 1024), moment

    def account(self, name: str, *, hidden: bool = False, **about: Any) -> int:
        number = 1 + len(self.dids)
        did = did_of(number * 7919)
        handle = None if name == "" else f"{name}.test"
        repo_id = self._insert(
            "insert into repo (did, handle, pds) values (%s, %s, 'https://pds.test') returning id",
            (did, handle),
        )
        self.dids[repo_id] = did
        display = about.get("display_name", name.title() or None)
        words = fold(f"{handle or ''} {display or ''}")
        card = profile_card(did, Handle(handle) if handle else None, display, about.get("avatar"))
        self.conn.execute(
            "insert into profile (repo_id, hidden, display_name, bio, created_at, card, search)"
            " values (%s, %s, %s, %s, %s, %s, to_tsvector('simple', %s))",
            (repo_id, hidden, display, about.get("bio"), about.get("created_at"), card, words),
        )
        return repo_id

    def uri(self, repo_id: int, collection: str, rkey: str) -> str:
        return f"at://{self.dids[repo_id]}/{collection}/{rkey}"

    def _card(self, uri: str, record: Mapping[str, Any], moment: datetime, **more: Any) -> tuple[str, str]:
        cid = cid_of(encode(dict(record)))
        shown = moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        whole = {"uri": uri, "cid": cid, "record": record, "indexedAt": shown, "verified": True, **more}
        return cid, members(whole)

    def stat(self, uri: str) -> int:
        id = self._insert(
            "insert into track_uri (uri) values (%s)"
            " on conflict (uri) do update set uri = excluded.uri returning id",
            (uri,),
        )
        self.conn.execute("insert into track_stat (id) values (%s) on conflict do nothing", (id,))
        return id

    def track(
        self, repo_id: int, title: str, *, at: datetime | None = None, old: bool = False, **fields: Any
    ) -> str:
        """With `old` it is from before there was a REST interface."""
        rkey, moment = self._next()
        moment = at or moment
        uri = self.uri(repo_id, self._collections.track, rkey)
        record = {
            "$type": self._collections.track,
            "title": title,
            "artist": fields.pop("artist", "Someone"),
            "fileType": "mp3",
            "createdAt": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "audioUrl": "https://audio.test/a.mp3",
            **fields,
        }
        audio = {"url": record["audioUrl"], "durationS": fields.get("duration")}
        audio = {key: value for key, value in audio.items() if value is not None}
        cid, card = self._card(uri, record, moment, audio=audio, image=fields.get("imageUrl"))
        id = self.stat(uri)
        words = fold(" ".join([title, record["artist"], fields.get("album", "")]))
        self.conn.execute(
            "insert into track (id, repo_id, rkey, cid, sort_at, indexed_at, title, card, search)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, to_tsvector('simple', %s))",
            (id, repo_id, rkey, cid, moment, moment, title, card, words),
        )
        if not old:
            rest = track_rest(
                record, uri=AtUri(uri), did=self.dids[repo_id], cid=Cid(cid), pds="https://pds.test"
            )
            features = None if rest.features is None else list(rest.features)
            self.conn.execute(
                "update track set rest = %s, features = %s, album = %s, album_id = %s, file_id = %s"
                " where id = %s",
                (rest.rest, features, rest.album, rest.album_id, rest.file_id, id),
            )
        return uri

    def heard(self) -> None:
        """As if all addresses of sound had been asked, and answered."""
        self.conn.execute(
            "insert into far_sound (track_id, record_cid, url)"
            """ select id, cid, substring(rest from '"r2_url":"([^"]*)"') from track"""
        )

    def forget(self, track: str) -> None:
        self.conn.execute("delete from track where id = %s", (self.stat(track),))

    def like(self, repo_id: int, track: str, *, at: datetime | None = None) -> str:
        rkey, moment = self._next()
        self.conn.execute(
            'insert into "like" (repo_id, track_id, rkey, sort_at) values (%s, %s, %s, %s)',
            (repo_id, self.stat(track), rkey, at or moment),
        )
        return self.uri(repo_id, self._collections.like, rkey)

    def comment(self, repo_id: int, track: str, text: str, timestamp_ms: int = 0) -> str:
        rkey, moment = self._next()
        uri = self.uri(repo_id, self._collections.comment, rkey)
        record = {
            "$type": self._collections.comment,
            "subject": {"uri": track, "cid": cid_of(b"\xa0")},
            "text": text,
            "timestampMs": timestamp_ms,
            "createdAt": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        _, card = self._card(uri, record, moment)
        self.conn.execute(
            "insert into comment (repo_id, rkey, track_id, timestamp_ms, sort_at, card)"
            " values (%s, %s, %s, %s, %s, %s)",
            (repo_id, rkey, self.stat(track), timestamp_ms, moment, card),
        )
        return uri

    def list_of(self, repo_id: int, name: str, tracks: Sequence[str], list_type: str = "album") -> str:
        rkey, moment = self._next()
        uri = self.uri(repo_id, self._collections.list, rkey)
        record = {
            "$type": self._collections.list,
            "name": name,
            "listType": list_type,
            "items": [{"subject": {"uri": track, "cid": cid_of(b"\xa0")}} for track in tracks],
            "createdAt": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        _, card = self._card(uri, record, moment)
        album = album_id(self.dids[repo_id], slug(name)) if list_type == "album" else None
        list_id = self._insert(
            "insert into list (repo_id, rkey, list_type, name, album_id, items, sort_at, card)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s) returning id",
            (repo_id, rkey, list_type, name, album, len(tracks), moment, card),
        )
        for position, track in enumerate(tracks):
            self.conn.execute(
                "insert into list_item (list_id, position, track_id) values (%s, %s, %s)",
                (list_id, position, self.stat(track)),
            )
        return uri

    def source(self, url: str, seq: int) -> None:
        self.conn.execute("insert into source_cursor (url, seq) values (%s, %s)", (url, seq))

    def commit(self) -> None:
        self.conn.execute(
            """
            update track_stat s set
                likes = (select count(distinct l.repo_id) from "like" l join profile p using (repo_id)
                          where l.track_id = s.id and not p.hidden),
                comments = (select count(*) from comment c join profile p using (repo_id)
                             where c.track_id = s.id and not p.hidden)
            """
        )
        self.conn.execute("delete from track_tag")
        self.conn.execute(
            "insert into track_tag (tag, sort_at, track_id, repo_id) select tag, sort_at, id, repo_id"
            " from track join track_stat using (id), unnest(tags) tag where not unlisted"
        )
        self.conn.commit()
