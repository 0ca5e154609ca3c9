"""Table `record`: the truth. Every record of ours as signed bytes, deletes as tombstones with a rev."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg.rows import class_row

from lexicons.syntax import Cid, Did, Handle, Nsid, Rev, Rkey
from storage.postgres import Connection, as_json
from storage.queries import load

_SQL = load("records")


class RecordKey(NamedTuple):
    repo_id: int
    collection: Nsid
    rkey: Rkey


@dataclass(frozen=True, slots=True)
class Stored:
    """What we hold under a key. `block` is None for a tombstone; `taken_down`: why nothing is made of it;
    `unlisted`: why it is listed nowhere."""

    repo_id: int
    collection: Nsid
    rkey: Rkey
    rev: Rev
    block: bytes | None
    verified: bool
    invalid: str | None
    taken_down: str | None
    unlisted: str | None


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A version to store. `cid` and `block` None: deleted. `invalid`: why the lexicon refuses it. `over`: it
    replaces versions up to that rev."""

    repo_id: int
    collection: Nsid
    rkey: Rkey
    rev: Rev
    cid: Cid | None
    block: bytes | None
    verified: bool
    invalid: str | None
    over: Rev | None = None


@dataclass(frozen=True, slots=True)
class LiveRecord:
    repo_id: int
    collection: Nsid
    rkey: Rkey
    rev: Rev
    cid: Cid
    block: bytes
    verified: bool
    invalid: str | None
    did: Did
    pds: str | None
    taken_down: str | None
    withheld: Mapping[str, str] | None  # of the account, as in `storage.intake.Repo`
    unlisted: str | None


@dataclass(frozen=True, slots=True)
class ProfileSource:
    """An account and one of its profile records; `collection` is None if it has none."""

    id: int
    did: Did
    handle: Handle | None
    withheld: Mapping[str, str] | None
    collection: Nsid | None
    block: bytes | None


async def get_many(conn: Connection, keys: Iterable[RecordKey]) -> dict[RecordKey, Stored]:
    rows = [{"repo_id": k.repo_id, "collection": k.collection, "rkey": k.rkey} for k in keys]
    async with conn.cursor(row_factory=class_row(Stored)) as cursor:
        await cursor.execute(_SQL["get_many"], {"keys": as_json(rows)})
        return {RecordKey(s.repo_id, s.collection, s.rkey): s for s in await cursor.fetchall()}


async def replace(conn: Connection, rows: Sequence[RecordRow]) -> None:
    """Store newer versions of records that we hold, or held."""
    await conn.execute(_SQL["replace"], {"rows": as_json(rows)})


async def live(conn: Connection, collections: Iterable[Nsid]) -> AsyncIterator[LiveRecord]:
    """Every record of these collections that is there, valid or not, by repo, as a stream."""
    async with conn.cursor("live_records", row_factory=class_row(LiveRecord)) as cursor:
        cursor.itersize = 2000
        await cursor.execute(_SQL["live"], {"collections": sorted(collections)})
        async for row in cursor:
            yield row


async def unproven(conn: Connection, *, before: Rev, limit: int) -> list[Did]:
    """Accounts with a record older than this rev that nothing proves, and who are not to be read anyway."""
    cursor = await conn.execute(_SQL["unproven"], {"before": before, "limit": limit})
    return [Did(did) for (did,) in await cursor.fetchall()]


async def judge(conn: Connection, verdicts: Sequence[tuple[RecordKey, str | None]]) -> None:
    """Store why each of these records is invalid, None: it is valid."""
    rows = [key._asdict() | {"invalid": invalid} for key, invalid in verdicts]
    await conn.execute(_SQL["judge"], {"rows": as_json(rows)})


async def live_of_repo(conn: Connection, repo_id: int, collection: Nsid) -> list[LiveRecord]:
    async with conn.cursor(row_factory=class_row(LiveRecord)) as cursor:
        await cursor.execute(_SQL["live_of_repo"], {"repo_id": repo_id, "collection": collection})
        return await cursor.fetchall()


async def profiles(
    conn: Connection, repo_ids: Iterable[int], collections: Iterable[Nsid]
) -> list[ProfileSource]:
    async with conn.cursor(row_factory=class_row(ProfileSource)) as cursor:
        params = {"repo_ids": sorted(repo_ids), "collections": sorted(collections)}
        await cursor.execute(_SQL["profiles"], params)
        return await cursor.fetchall()


async def take_down(
    conn: Connection, key: RecordKey, reason: str | None, *, comment: Nsid, list_: Nsid
) -> bool:
    """Our own decision about one record, None: lift it. Call it while what was made of the record is still
    there: the number of a comment or list is kept. False if it already is so, or there is no such record."""
    params = key._asdict() | {"reason": reason, "comment": comment, "list": list_}
    return (await conn.execute(_SQL["take_down"], params)).rowcount > 0


async def unlist(conn: Connection, key: RecordKey, reason: str | None) -> bool:
    """Our own decision to list a track nowhere, None: lift it. False if it already is so, or there is no such
    record."""
    return (await conn.execute(_SQL["unlist"], key._asdict() | {"reason": reason})).rowcount > 0


async def known_keys(conn: Connection, did: Did, collection: Nsid, rkeys: Iterable[Rkey]) -> set[Rkey]:
    """Which of these keys the account ever had in this collection; what it deleted counts, too."""
    params = {"did": did, "collection": collection, "rkeys": list(rkeys)}
    cursor = await conn.execute(_SQL["known_keys"], params)
    return {Rkey(rkey) for (rkey,) in await cursor.fetchall()}
