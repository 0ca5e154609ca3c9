"""Likes over REST: one record for each person and track, seen at once, and gone for good when taken back."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import psycopg
import pytest

from appview.turns import Turns
from lexicons.syntax import Rkey
from storage import turns
from tests.fakenet.home import REPO
from tests.fakenet.http import json_page
from tests.fakenet.world import LIKE, TRACK, like
from tests.integration.appview.auth.signing import detail
from tests.integration.appview.social.square import RKEY, Square, squared

PUT, DELETE = REPO + "putRecord", REPO + "deleteRecord"


async def shown(square: Square) -> int:
    return (await square.counted())[0]


async def test_a_like_is_on_the_pds_and_seen_at_once(square: Square) -> None:
    bob = await square.person("bob")
    answer = await square.like(bob)
    [(rkey, record)] = square.pds.records(bob, LIKE).items()
    assert (answer.status, answer.json) == (200, {"liked": True, "atproto_uri": f"at://{bob}/{LIKE}/{rkey}"})
    [(cid,)] = await square.rows("select cid from track")
    assert record["subject"] == {"uri": square.ana.uri(TRACK, RKEY), "cid": cid}
    assert await shown(square) == 1
    assert await square.rows("select verified from record where collection = %s", LIKE) == [(False,)]
    await square.echoes([bob])
    assert await shown(square) == 1
    assert await square.rows("select verified from record where collection = %s", LIKE) == [(True,)]


async def test_saying_it_again_changes_nothing(square: Square) -> None:
    bob = await square.person("bob")
    await square.like(bob)
    asked = square.pds.asked.copy()
    assert (await square.like(bob)).json == {"liked": True}
    assert (await square.unlike(bob)).json == {"liked": False}
    assert (await square.unlike(bob)).json == {"liked": False}
    assert square.pds.asked - asked == {DELETE: 1}
    assert square.pds.records(bob, LIKE) == {}
    assert await shown(square) == 0


async def test_fifty_at_once_leave_one_record(square: Square) -> None:
    bob = await square.person("bob")
    answers = await asyncio.gather(*(square.like(bob) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert sum("atproto_uri" in answer.json for answer in answers) == 1
    assert len(square.pds.records(bob, LIKE)) == 1
    assert square.pds.asked[PUT] == 1
    assert await shown(square) == 1
    assert await square.rows("select count(*) from write_turn") == [(0,)]


async def test_taking_it_back_deletes_what_other_apps_wrote_too(square: Square) -> None:
    bob = await square.person("bob")
    for rkey in ("3mpt222222223", "3mpt222222224"):
        square.pds.write(bob, "create", LIKE, rkey, like(square.ana.uri(TRACK, RKEY)))
    await square.echoes([bob])
    assert (await square.like(bob)).json == {"liked": True}
    assert (await square.unlike(bob)).json == {"liked": False}
    assert square.pds.records(bob, LIKE) == {}
    assert await shown(square) == 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_a_late_echo_never_resurrects_it(square: Square, order: tuple[int, ...]) -> None:
    """Liked, taken back, liked and taken back again: whatever the firehose brings, and when."""
    bob = await square.person("bob")
    for _ in range(2):
        await square.like(bob)
        await square.unlike(bob)
    commits = square.pds.commits[bob]
    assert len(commits) == 4
    first, second, *rest = commits
    for n in order:
        await square.echo(*[[first], [second], rest][n])
        assert await shown(square) == 0
    assert await square.rows('select count(*) from "like"') == [(0,)]
    assert await square.rows("select bool_and(cid is null) from record where collection = %s", LIKE) == [
        (True,)
    ]


async def test_of_a_like_that_nobody_answered_there_is_one_in_the_end(square: Square) -> None:
    bob = await square.person("bob")
    square.pds.held[PUT] = asyncio.Event()
    assert detail(await square.like(bob)) == (502, "failed to like track - please try again")
    [rkey] = square.pds.records(bob, LIKE)
    assert await shown(square) == 0
    square.pds.held.clear()
    answer = await square.like(bob)
    assert answer.json["atproto_uri"].endswith(rkey)
    assert list(square.pds.records(bob, LIKE)) == [rkey]
    await square.echoes([bob])
    assert await shown(square) == 1


async def test_a_like_that_nobody_answered_can_be_taken_back(square: Square) -> None:
    bob = await square.person("bob")
    square.pds.held[PUT] = asyncio.Event()
    await square.like(bob)
    square.pds.held.clear()
    assert (await square.unlike(bob)).json == {"liked": False}
    assert square.pds.records(bob, LIKE) == {}
    await square.echoes([bob])
    assert await shown(square) == 0
    assert await square.rows("select count(*) from write_turn") == [(0,)]


async def test_another_apps_like_in_the_same_moment_is_the_one_that_stays(square: Square) -> None:
    bob = await square.person("bob")
    square.pds.held[PUT] = answered = asyncio.Event()
    liking = asyncio.create_task(square.like(bob))
    while not square.pds.records(bob, LIKE):
        await asyncio.sleep(0.01)
    theirs = square.pds.write(bob, "create", LIKE, "3mpt222222223", like(square.ana.uri(TRACK, RKEY)))
    await square.echo(theirs)
    answered.set()
    assert (await liking).json == {"liked": True}
    assert list(square.pds.records(bob, LIKE)) == ["3mpt222222223"]
    assert await shown(square) == 1


async def test_taking_it_back_takes_what_nobody_answered_too(square: Square) -> None:
    """Another app's like is known meanwhile, so that ours is not written again."""
    bob = await square.person("bob")
    square.pds.held[PUT] = asyncio.Event()
    await square.like(bob)
    square.pds.held.clear()
    theirs = square.pds.write(bob, "create", LIKE, "3mpt222222223", like(square.ana.uri(TRACK, RKEY)))
    await square.echo(theirs)
    assert (await square.like(bob)).json == {"liked": True}
    assert len(square.pds.records(bob, LIKE)) == 2
    assert (await square.unlike(bob)).json == {"liked": False}
    assert square.pds.records(bob, LIKE) == {}


@pytest.mark.parametrize(
    ("page", "status", "said"),
    [
        (json_page({"error": "InternalServerError"}, 503), 502, "failed to like track - please try again"),
        (json_page({"error": "InvalidRequest"}, 400), 500, "failed to like track - please try again"),
        (json_page({"error": "AuthMissing"}, 401), 401, "session_expired"),
    ],
)
async def test_what_the_pds_refuses_is_told_and_leaves_nothing(
    square: Square, page: Any, status: int, said: str
) -> None:
    bob = await square.person("bob")
    square.pds.instead[PUT] = page
    assert detail(await square.like(bob)) == (status, said)
    square.pds.instead.clear()
    assert await shown(square) == 0
    assert (await square.like(bob)).status == 200
    square.pds.instead[DELETE] = page
    said = said if status == 401 else "failed to unlike track - please try again"
    assert detail(await square.unlike(bob)) == (status, said)
    assert await shown(square) == 1


async def test_who_may_like_what(square: Square) -> None:
    bob = await square.person("bob")
    eve = await square.person("eve", scope="atproto repo:fm.plyr.track")
    assert detail(await square.ask("POST", f"/tracks/{square.track_id}/like"))[0] == 401
    assert detail(await square.like(eve)) == (403, "scope_upgrade_required")
    assert detail(await square.ask("POST", "/tracks/999/like", bob)) == (404, "track not found")
    assert detail(await square.ask("DELETE", "/tracks/999/like", bob)) == (404, "track not found")
    assert (await square.ask("POST", "/tracks/one/like", bob)).status == 422
    assert square.pds.asked[PUT] == 0


async def test_a_track_that_is_gone_can_be_liked_no_more_but_a_like_taken_back(square: Square) -> None:
    bob = await square.person("bob")
    await square.like(bob)
    await square.echo(square.pds.write(square.ana.did, "delete", TRACK, RKEY, None))
    assert (await square.like(bob)).status == 404
    assert (await square.unlike(bob)).json == {"liked": False}
    assert square.pds.records(bob, LIKE) == {}


async def test_a_track_of_ours_without_its_record_says_so(square: Square) -> None:
    bob = await square.person("bob")
    await square.rows(
        "insert into track_media (did, rkey, published_at) values (%s, %s, now())", square.ana.did, RKEY
    )
    await square.echo(square.pds.write(square.ana.did, "delete", TRACK, RKEY, None))
    answer = await square.like(bob)
    assert (answer.status, answer.json["detail"]["error"]) == (422, "missing_atproto_record")


async def test_who_stands_still_in_the_middle_is_waited_for_as_long_as_the_lease(
    database: str, tmp_path: Path
) -> None:
    async with squared(database, tmp_path, turns=Turns(lease_s=2, wait_s=1)) as square:
        bob = await square.person("bob")
        async with await psycopg.AsyncConnection.connect(square.dsn, autocommit=True) as conn:
            what = f"like {square.track_id}"
            assert await turns.take(conn, bob, what, None, lease_s=2)
            assert await turns.take(conn, bob, what, None, lease_s=2) is None
            assert (await square.like(bob)).status == 502
            async with asyncio.timeout(5):
                while (await square.like(bob)).status != 200:
                    pass
        assert len(square.pds.records(bob, LIKE)) == 1


async def test_who_died_in_the_middle_is_not_waited_for_and_leaves_the_key(square: Square) -> None:
    bob = await square.person("bob")
    async with await psycopg.AsyncConnection.connect(square.dsn, autocommit=True) as conn:
        left = Rkey("3mpt222222223")
        assert await turns.take(conn, bob, f"like {square.track_id}", left, lease_s=3600)
    assert (await square.like(bob)).status == 200
    assert list(square.pds.records(bob, LIKE)) == [left]
