"""Comments over REST: on their author's PDS, seen at once, in order, with a number that stays."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from appview.own_comments import MOST
from indexer.replay import rebuild_projections
from storage.postgres import make_pool
from tests.fakenet.home import REPO
from tests.fakenet.http import json_page
from tests.fakenet.world import COMMENT, TRACK, comment
from tests.integration.appview.auth.signing import detail
from tests.integration.appview.social.square import CATALOG, RKEY, Square

PUT, DELETE = REPO + "putRecord", REPO + "deleteRecord"


async def test_a_comment_is_on_the_pds_and_seen_at_once(square: Square) -> None:
    bob = await square.person("bob")
    answer = await square.comment(bob, "what a bridge", 61_500)
    [(rkey, record)] = square.pds.records(bob, COMMENT).items()
    [(cid,)] = await square.rows("select cid from track")
    assert record == {
        "$type": COMMENT,
        "subject": {"uri": square.ana.uri(TRACK, RKEY), "cid": cid},
        "text": "what a bridge",
        "timestampMs": 61_500,
        "createdAt": record["createdAt"],
    }
    [(id,)] = await square.rows("select id from comment where rkey = %s", rkey)
    told = {
        "id": id,
        "user_did": bob,
        "user_handle": bob,
        "user_display_name": None,
        "user_avatar_url": None,
        "text": "what a bridge",
        "timestamp_ms": 61_500,
        "created_at": datetime.fromisoformat(record["createdAt"]).isoformat(),
        "updated_at": None,
    }
    assert (answer.status, answer.json) == (200, told)
    assert await square.comments() == {"comments": [told], "count": 1, "comments_enabled": True}
    await square.echoes([bob])
    assert await square.comments() == {"comments": [told], "count": 1, "comments_enabled": True}
    assert await square.counted() == (0, 1)


async def test_comments_stand_in_the_order_of_their_moments(square: Square) -> None:
    bob, eve = [await square.person(name) for name in ("bob", "eve")]
    for who, text, at_ms in ((bob, "last", 9000), (eve, "first", 0), (eve, "middle", 500)):
        assert (await square.comment(who, text, at_ms)).status == 200
    # What another app wrote belongs there, too.
    commit = square.pds.write(
        bob, "create", COMMENT, "3mpt222222223", comment(square.ana.uri(TRACK, RKEY), "theirs", 700)
    )
    await square.echo(commit)
    shown = await square.comments()
    assert [each["text"] for each in shown["comments"]] == ["first", "middle", "theirs", "last"]
    assert shown["count"] == 4


async def test_the_artist_says_whether_there_are_comments(square: Square) -> None:
    bob = await square.person("bob")
    assert (await square.comment(bob)).status == 200
    await square.let_comment(square.ana.did, False)
    assert await square.comments() == {"comments": [], "count": 0, "comments_enabled": False}
    assert detail(await square.comment(bob)) == (403, "comments are disabled for this artist's tracks")
    assert len(square.pds.records(bob, COMMENT)) == 1
    await square.let_comment(square.ana.did)
    assert (await square.comments())["count"] == 1


async def test_an_edit_keeps_the_number_and_what_it_does_not_know(square: Square) -> None:
    bob = await square.person("bob")
    id = (await square.comment(bob, "teh", 10)).json["id"]
    [rkey] = square.pds.records(bob, COMMENT)
    before = square.pds.records(bob, COMMENT)[rkey] | {"mood": "glad"}
    await square.echo(square.pds.write(bob, "update", COMMENT, rkey, before))
    answer = await square.ask("PATCH", f"/tracks/comments/{id}", bob, json={"text": "the"})
    assert answer.status == 200, answer.body
    assert (answer.json["id"], answer.json["text"], answer.json["timestamp_ms"]) == (id, "the", 10)
    after = square.pds.records(bob, COMMENT)[rkey]
    assert after == before | {"text": "the", "updatedAt": after["updatedAt"]}
    assert answer.json["updated_at"] == datetime.fromisoformat(after["updatedAt"]).isoformat()
    assert (await square.comments())["comments"] == [answer.json]
    await square.echoes([bob])
    assert (await square.comments())["comments"] == [answer.json]


async def test_a_rebuild_finds_nothing_and_keeps_the_numbers(square: Square) -> None:
    bob = await square.person("bob")
    ids = [(await square.comment(bob, text)).json["id"] for text in ("one", "two", "three")]
    await square.ask("DELETE", f"/tracks/comments/{ids[0]}", bob)
    await square.rows("update comment set card = '' where id = %s", ids[1])
    async with make_pool(square.dsn, max_size=1, name="test") as pool, pool.connection() as conn:
        found = await rebuild_projections(conn, CATALOG)
        assert [(each.table, each.wrong) for each in found.differences] == [("comment", 1)]
        assert (await rebuild_projections(conn, CATALOG)).differences == []
    assert [(each["id"], each["text"]) for each in (await square.comments())["comments"]] == [
        (ids[1], "two"),
        (ids[2], "three"),
    ]


async def test_a_deleted_comment_is_gone_and_stays_so(square: Square) -> None:
    bob = await square.person("bob")
    id = (await square.comment(bob)).json["id"]
    assert (await square.ask("DELETE", f"/tracks/comments/{id}", bob)).json == {"deleted": True}
    assert square.pds.records(bob, COMMENT) == {}
    assert detail(await square.ask("DELETE", f"/tracks/comments/{id}", bob)) == (404, "comment not found")
    await square.echo(square.pds.commits[bob][0])
    assert (await square.comments())["comments"] == []
    await square.echo(square.pds.commits[bob][1])
    assert await square.counted() == (0, 0)


async def test_who_may_change_what(square: Square) -> None:
    bob, eve = [await square.person(name) for name in ("bob", "eve")]
    kay = await square.person("kay", scope="atproto repo:fm.plyr.like")
    id = (await square.comment(bob)).json["id"]
    path, change = f"/tracks/comments/{id}", {"text": "no"}
    assert detail(await square.ask("PATCH", path, eve, json=change)) == (
        403,
        "can only edit your own comments",
    )
    assert detail(await square.ask("DELETE", path, eve)) == (403, "can only delete your own comments")
    assert (await square.ask("PATCH", path, json=change)).status == 401
    assert (await square.ask("DELETE", path)).status == 401
    assert detail(await square.comment(kay)) == (403, "scope_upgrade_required")
    unknown = await square.ask("PATCH", "/tracks/comments/999", bob, json=change)
    assert detail(unknown) == (404, "comment not found")
    assert (await square.ask("GET", "/tracks/999/comments")).status == 404
    assert (await square.ask("GET", "/tracks/one/comments")).status == 422
    body = {"text": "x", "timestamp_ms": 0}
    assert (await square.ask("POST", "/tracks/999/comments", bob, json=body)).status == 404
    assert [each["text"] for each in (await square.comments())["comments"]] == ["here"]


@pytest.mark.parametrize(
    ("text", "timestamp_ms", "status"),
    [
        ("", 0, 422),
        ("x" * 1000, 0, 200),
        ("x" * 1001, 0, 422),
        ("ü" * 500, 0, 200),
        ("ü" * 501, 0, 422),
        ("x", -1, 422),
        ("x", (1 << 53) - 1, 200),
        ("x", 1 << 53, 422),
        ("nul \0", 0, 200),
    ],
)
async def test_what_fits_into_a_record_fits_here(
    square: Square, text: str, timestamp_ms: int, status: int
) -> None:
    bob = await square.person("bob")
    answer = await square.comment(bob, text, timestamp_ms)
    assert answer.status == status, answer.body
    if status == 200:
        assert (answer.json["text"], answer.json["timestamp_ms"]) == (text, timestamp_ms)
    else:
        assert answer.json["detail"][0]["loc"][0] == "body"
    assert len(square.pds.records(bob, COMMENT)) == (status == 200)


async def test_a_track_has_room_for_so_many_however_many_come_at_once(square: Square) -> None:
    people = [await square.person(f"p{n}") for n in range(5)]
    answers = await asyncio.gather(*(square.comment(people[n % 5]) for n in range(50)))
    good = [answer.json["id"] for answer in answers if answer.status == 200]
    assert len(set(good)) == MOST
    refused = [detail(answer) for answer in answers if answer.status != 200]
    assert refused == [(400, "track has reached maximum of 20 comments")] * 30
    assert sum(len(square.pds.records(did, COMMENT)) for did in people) == MOST
    assert await square.counted() == (0, MOST)
    await square.echoes(people)
    assert await square.counted() == (0, MOST)
    assert await square.rows("select count(*) from comment_claim") == [(0,)]
    # One that goes makes room.
    [(owner, id)] = await square.rows(
        "select did, c.id from comment c join repo r on r.id = c.repo_id order by c.id limit 1"
    )
    await square.ask("DELETE", f"/tracks/comments/{id}", owner)
    assert (await square.comment(people[0])).status == 200


async def test_fifty_edits_at_once_are_fifty_edits(square: Square) -> None:
    bob = await square.person("bob")
    id = (await square.comment(bob)).json["id"]
    path = f"/tracks/comments/{id}"
    answers = await asyncio.gather(
        *(square.ask("PATCH", path, bob, json={"text": f"n{n}"}) for n in range(50))
    )
    assert {answer.status for answer in answers} == {200}
    [record] = square.pds.records(bob, COMMENT).values()
    [shown] = (await square.comments())["comments"]
    assert shown["text"] == record["text"]
    assert len(square.pds.commits[bob]) == 51


async def test_what_the_pds_does_not_take_is_told_and_leaves_nothing(square: Square) -> None:
    bob = await square.person("bob")
    id = (await square.comment(bob)).json["id"]
    path = f"/tracks/comments/{id}"
    for page, status in (
        (json_page({"error": "InternalServerError"}, 503), 502),
        (json_page({"error": "InvalidRequest"}, 400), 500),
    ):
        square.pds.instead = {PUT: page, DELETE: page}
        assert detail(await square.comment(bob)) == (status, "failed to create comment")
        changed = await square.ask("PATCH", path, bob, json={"text": "other"})
        assert detail(changed) == (status, "failed to update comment on ATProto")
        assert detail(await square.ask("DELETE", path, bob)) == (
            status,
            "failed to delete comment on ATProto",
        )
    square.pds.instead = dict.fromkeys((PUT, DELETE), json_page({"error": "AuthMissing"}, 401))
    assert detail(await square.comment(bob)) == (401, "session_expired")
    assert await square.counted() == (0, 1)
    assert (await square.comments())["count"] == 1
