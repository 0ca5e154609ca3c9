"""What the network says beside what the index says.

The network's side is `listRecords` of every account, asked of its PDS, and counted here anew with
none of the indexer's code: two ways to the same figures, so that neither can hide the other's mistake.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from tests.devnet.load import BSKY_PROFILE, Plan
from tests.devnet.network import Account, Devnet, Listed

Row = tuple[Any, ...]

# Each table by natural keys: internal ids depend on the order in which things came.
TABLES: Mapping[str, LiteralString] = {
    "record": """
        select r.did, x.collection, x.rkey, x.rev, x.cid, x.block, x.verified, x.invalid
        from record x join repo r on r.id = x.repo_id""",
    "track": """
        select s.uri, t.title, t.sort_at, t.indexed_at, t.card, t.rest, t.features::text, t.album,
               t.album_id, t.file_id
        from track t join track_uri s using (id)""",
    "track_stat": """
        select uri, likes, comments from track_stat join track_uri using (id)
        where likes > 0 or comments > 0""",
    "like": """
        select r.did, s.uri, l.rkey, l.sort_at
        from "like" l join repo r on r.id = l.repo_id join track_uri s on s.id = l.track_id""",
    "comment": """
        select r.did, c.rkey, s.uri, c.timestamp_ms, c.sort_at, c.card
        from comment c join repo r on r.id = c.repo_id join track_uri s on s.id = c.track_id""",
    "list": """
        select r.did, l.rkey, l.list_type, l.name, l.album_id, l.items, l.sort_at, l.card
        from list l join repo r on r.id = l.repo_id""",
    "list_item": """
        select r.did, l.rkey, i.position, s.uri
        from list_item i join list l on l.id = i.list_id
        join repo r on r.id = l.repo_id join track_uri s on s.id = i.track_id""",
    "profile": """
        select r.did, p.hidden, p.display_name, p.avatar, p.bio, p.created_at, p.card, p.search::text
        from profile p join repo r on r.id = p.repo_id""",
    "repo": "select did, handle, pds, signing_key, rev, data, active, status from repo",
}


@dataclass(frozen=True)
class Counts:
    likes: int = 0  # accounts, not records
    comments: int = 0


async def listed_records(net: Devnet, accounts: Sequence[Account], namespace: str) -> dict[str, Listed]:
    """Every record that an index should hold, by URI: those of accounts that have any of ours."""
    limit = asyncio.Semaphore(8)

    async def of(account: Account) -> list[Listed]:
        async with limit:
            names = await net.collections(account)
            if not any(name.startswith(f"{namespace}.") for name in names):
                return []
            wanted = [name for name in names if name.startswith(f"{namespace}.") or name == BSKY_PROFILE]
            return [record for name in wanted for record in await net.list_records(account, name)]

    pages = await asyncio.gather(*(of(account) for account in accounts))
    return {record.uri: record for page in pages for record in page}


def departures(plan: Plan, listed: Mapping[str, Listed], namespace: str) -> list[str]:
    """Where the PDSs' records of ours are not what the plan leads to: a driver's or a PDS's fault."""
    planned = {
        f"at://{plan.dids[actor]}/{collection}/{rkey}": write.record
        for (actor, collection, rkey), write in plan.final.items()
        if collection.startswith(f"{namespace}.")
    }
    there = {uri: record.value for uri, record in listed.items() if record.collection != BSKY_PROFILE}
    return differences(there, planned)


def planned_validity(plan: Plan) -> dict[str, bool]:
    """Whether the lexicon accepts each record that exists in the end, by URI, as the plan meant it."""
    return {f"at://{plan.dids[key[0]]}/{key[1]}/{key[2]}": write.valid for key, write in plan.final.items()}


def recount(records: Iterable[Listed], namespace: str) -> dict[str, Counts]:
    """Likes and comments of every track that somebody named, from valid records alone."""
    likers: dict[str, set[str]] = defaultdict(set)
    comments: dict[str, int] = defaultdict(int)
    for record in records:
        author = record.uri.split("/")[2]
        if record.collection == f"{namespace}.like":
            likers[record.value["subject"]["uri"]].add(author)
        elif record.collection == f"{namespace}.comment":
            comments[record.value["subject"]["uri"]] += 1
    return {uri: Counts(len(likers[uri]), comments[uri]) for uri in likers.keys() | comments.keys()}


async def indexed_records(conn: psycopg.AsyncConnection) -> dict[str, tuple[str, bool]]:
    """(cid, whether the index takes it as valid) of every record that the index holds, by URI."""
    cursor = await conn.execute(
        """select 'at://' || r.did || '/' || x.collection || '/' || x.rkey, x.cid, x.invalid is null
           from record x join repo r on r.id = x.repo_id where x.cid is not null"""
    )
    return {uri: (cid, valid) async for uri, cid, valid in cursor}


async def indexed_counts(conn: psycopg.AsyncConnection) -> dict[str, Counts]:
    cursor = await conn.execute(
        "select uri, likes, comments from track_stat join track_uri using (id)"
        " where likes <> 0 or comments <> 0"
    )
    return {uri: Counts(likes, comments) async for uri, likes, comments in cursor}


async def tables(conn: psycopg.AsyncConnection) -> dict[str, set[Row]]:
    """Everything that must not depend on how the events came, in one snapshot."""
    async with conn.transaction():
        await conn.execute("set transaction isolation level repeatable read")
        return {name: set(await (await conn.execute(query)).fetchall()) for name, query in TABLES.items()}


def differences(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """What is not equal in two mappings, a line each; empty when they are."""
    return [
        f"{key}: {one.get(key, 'absent')} | {other.get(key, 'absent')}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def table_differences(one: Mapping[str, set[Row]], other: Mapping[str, set[Row]]) -> list[str]:
    """Rows of either side that the other lacks, a line each; empty when all tables are equal."""
    lines: list[str] = []
    for name in one.keys() | other.keys():
        for side, rows in (("first", one[name] - other[name]), ("second", other[name] - one[name])):
            lines += [f"{name}, only in the {side}: {row}" for row in sorted(rows, key=repr)]
    return lines
