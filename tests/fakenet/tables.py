"""The tables by what names their rows, without ids and clock times: equal dumps are equal indexes."""

from __future__ import annotations

from typing import Any, LiteralString

from storage.postgres import Connection

TABLES: dict[str, LiteralString] = {
    "repo": """select did, handle, pds, signing_key, active, status, rev, data from repo order by did""",
    "record": """select did, collection, rkey, record.rev, cid, block, verified, invalid, unlisted
                 from record join repo on repo.id = repo_id order by did, collection, rkey""",
    "track": """select s.uri, t.rkey, t.cid, sort_at, indexed_at, title, card, search::text,
                rest, features, album, album_id::text, file_id, unlisted
                from track t join track_uri s using (id) order by s.uri""",
    # A URI that somebody once mentioned and nobody does any more is of no consequence.
    "track_stat": """select uri, likes, comments, plays from track_stat join track_uri using (id)
                     where likes <> 0 or comments <> 0 or plays <> 0 order by uri""",
    "track_tag": """select tag, uri, sort_at from track_tag
                    join track_uri s on s.id = track_id order by tag, uri""",
    "like": """select did, rkey, uri, sort_at from "like" join repo on repo.id = repo_id
               join track_uri s on s.id = track_id order by did, rkey, uri""",
    "comment": """select did, rkey, uri, timestamp_ms, sort_at, card from comment
                  join repo on repo.id = repo_id join track_uri s on s.id = track_id order by did, rkey""",
    "list": """select did, rkey, list_type, name, album_id::text, items, sort_at, card from list
               join repo on repo.id = repo_id order by did, rkey""",
    "list_item": """select did, rkey, position, uri from list_item join list on list.id = list_id
                    join repo on repo.id = repo_id join track_uri s on s.id = track_id
                    order by did, rkey, position""",
    "profile": """select did, hidden, display_name, avatar, bio, created_at, card, search::text
                  from profile join repo on repo.id = repo_id order by did""",
}


async def dump(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {name: await (await conn.execute(query)).fetchall() for name, query in TABLES.items()}
