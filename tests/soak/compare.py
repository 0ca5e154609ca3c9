"""What the tables must hold, from what is true of a world, and where they differ from it.

Everything is recounted from the residents' records: no counter, no rev and no decision of the indexer
is taken for granted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, LiteralString

import libipld

from storage.postgres import Connection
from tests.fakenet.resident import Resident
from tests.fakenet.story import Story
from tests.fakenet.world import BSKY, COMMENT, LIKE, LIST, PROFILE, TRACK

Rows = dict[tuple[Any, ...], Any]
LONGEST_URI = 200  # of a track that anybody here could have

QUERIES: dict[str, LiteralString] = {
    "repo": """select did, r.handle, pds, signing_key, active, p.hidden, state, rev, data
               from repo r join profile p on p.repo_id = r.id""",
    "record": """select did, collection, rkey, cid, verified, invalid is null
                 from record join repo on repo.id = repo_id where cid is not null""",
    "track": """select did, rkey, title from track join repo on repo.id = repo_id""",
    "like": """select did, rkey, uri from "like" join repo on repo.id = repo_id
               join track_uri u on u.id = track_id""",
    "comment": """select did, rkey, uri, timestamp_ms from comment join repo on repo.id = repo_id
                  join track_uri u on u.id = track_id""",
    "list": """select did, rkey, name, items from list join repo on repo.id = repo_id""",
    "list_item": """select did, rkey, position, uri from list_item join list on list.id = list_id
                    join repo on repo.id = repo_id join track_uri u on u.id = track_id""",
    "track_stat": """select uri, likes, comments from track_stat join track_uri using (id)
                     where likes <> 0 or comments <> 0""",
    "profile": """select did, display_name, bio from profile join repo on repo.id = repo_id""",
}
KEYS = {
    "repo": 1,
    "record": 3,
    "track": 2,
    "like": 3,
    "comment": 2,
    "list": 2,
    "list_item": 3,
    "track_stat": 1,
}
KEYS["profile"] = 1


async def read(conn: Connection) -> dict[str, Rows]:
    """All tables, each row by what names it."""
    tables: dict[str, Rows] = {}
    for name, query in QUERIES.items():
        rows = await (await conn.execute(query)).fetchall()
        size = KEYS[name]
        tables[name] = {row[:size]: row[size:] for row in rows}
        assert len(tables[name]) == len(rows), f"{name} has a row twice"
    return tables


def expected(story: Story, handles: Mapping[str, str], tracked: Iterable[str]) -> dict[str, Rows]:
    """The rows of one world. `handles` is the directory's table, `tracked` whom the tables know: an account
    that has nothing of ours any more may be among them, and need not."""
    known = set(tracked)
    people = [r for r in story.residents if r.concerns_us or r.did in known]
    tables: dict[str, Rows] = {name: {} for name in QUERIES}
    for resident in people:
        did = resident.did
        tables["repo"][did,] = _repo(resident, handles)
        if resident.status is None or resident.gone:
            tables["profile"][did,] = (_text(resident, BSKY, "displayName"), _text(resident, PROFILE, "bio"))
        for (collection, rkey), record in resident.indexed().items():
            tables["record"][did, collection, rkey] = (record.cid, True, record.valid)
            if record.valid:
                _project(tables, resident, collection, rkey, record.value)
    tables["track_stat"] = _counts([r for r in people if r.status is None])
    return tables


def differences(story: Story, wanted: Mapping[str, Rows], found: Mapping[str, Rows]) -> list[str]:
    """A line for each row that is missing, too many, or other. Of an account that is hidden for now we
    may lack what it wrote last: nobody could be asked for it."""
    everybody = {resident.did for resident in story.residents}
    hidden = {
        resident.did for resident in story.residents if resident.status is not None and not resident.gone
    }
    lines: list[str] = []
    for name in QUERIES:
        here = everybody if name in ("repo", "track_stat") else everybody - hidden
        rows = {key: row for key, row in found[name].items() if _account(key) in here}
        want = {key: row for key, row in wanted[name].items() if _account(key) in here}
        for key in sorted(want.keys() | rows.keys(), key=str):
            must, have = want.get(key), rows.get(key)
            if name == "repo" and must is not None and have is not None:
                have = {field: value for field, value in _fields(have).items() if field in must}
                wrong = [field for field in must if must[field] != have[field]]
                must, have = [{field: row[field] for field in wrong} for row in (must, have)]
            if must != have:
                lines.append(f"{name} {' '.join(map(str, key))}: is {have}, should be {must}")
    return lines


def _account(key: tuple[Any, ...]) -> str:
    return key[0].split("/")[2] if str(key[0]).startswith("at://") else key[0]


_FIELDS = ("handle", "pds", "signing_key", "active", "hidden", "state", "rev", "data")


def _fields(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_FIELDS, row, strict=True))


def _repo(resident: Resident, handles: Mapping[str, str]) -> dict[str, Any]:
    if resident.status is not None:
        return {"active": False, "hidden": True}
    repo = resident.repo
    handle = repo.handle if handles.get(repo.handle) == resident.did else None
    place = {"handle": handle, "pds": resident.pds.origin, "signing_key": repo.key.did_key}
    head = {"state": "active", "rev": repo.rev, "data": libipld.encode_cid(repo.data)}
    return place | {"active": True, "hidden": False} | head


def _text(resident: Resident, collection: str, field: str) -> str | None:
    record = resident.indexed().get((collection, "self"))
    return None if record is None else record.value.get(field)


def _project(
    tables: dict[str, Rows], resident: Resident, collection: str, rkey: str, value: Mapping[str, Any]
) -> None:
    did = resident.did
    if collection == TRACK:
        tables["track"][did, rkey] = (_stored(value["title"]),)
    elif collection == LIKE and _is_track(value["subject"]["uri"]):
        tables["like"][did, rkey, value["subject"]["uri"]] = ()
    elif collection == COMMENT and _is_track(value["subject"]["uri"]):
        tables["comment"][did, rkey] = (value["subject"]["uri"], value["timestampMs"])
    elif collection == LIST:
        uris = [item["subject"]["uri"] for item in value["items"]]
        tables["list"][did, rkey] = (_stored(value["name"]), len(uris))
        for position, uri in enumerate(uris):
            tables["list_item"][did, rkey, position] = (uri,)


def _counts(visible: Iterable[Resident]) -> Rows:
    """URI → (distinct accounts that like it, comments), zeros left out."""
    likes: dict[str, set[str]] = {}
    comments: Counter[str] = Counter()
    for resident in visible:
        for (collection, _), record in resident.indexed().items():
            if record.valid and collection in (LIKE, COMMENT):
                uri = record.value["subject"]["uri"]
                if collection == COMMENT:
                    comments[uri] += 1
                elif _is_track(uri):
                    likes.setdefault(uri, set()).add(resident.did)
    return {(uri,): (len(likes.get(uri, ())), comments[uri]) for uri in likes.keys() | comments.keys()}


def _is_track(uri: str) -> bool:
    return len(uri) < LONGEST_URI


def _stored(text: str) -> str:
    """Postgres has no NUL in text."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
