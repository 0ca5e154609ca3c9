"""What the feed methods answer."""

from __future__ import annotations

from datetime import timedelta

from tests.integration.appview.seed import START
from tests.integration.appview.service import World


def titles(answer: dict) -> list[str]:
    return [track["record"]["title"] for track in answer["tracks"]]


async def test_a_track_is_shown_with_all_that_belongs_to_it(world: World):
    ann, bob = world.seed.account("ann", avatar="https://img.test/ann"), world.seed.account("bob")
    uri = world.seed.track(
        ann, "Ärger “im” \\ Haus", duration=185, imageUrl="https://img.test/1", x={"y": [1]}
    )
    like = world.seed.like(bob, uri)
    world.seed.comment(ann, uri, "mine")
    world.seed.commit()

    answer = await world.server.ask("feed.getTrack", {"uri": uri}, viewer=world.seed.dids[bob])

    track = answer["track"]
    assert track["uri"] == uri
    assert track["author"] == {
        "did": world.seed.dids[ann],
        "handle": "ann.test",
        "displayName": "Ann",
        "avatar": "https://img.test/ann",
    }
    assert track["record"]["title"] == "Ärger “im” \\ Haus"
    assert track["record"]["x"] == {"y": [1]}
    assert track["audio"] == {"url": "https://audio.test/a.mp3", "durationS": 185}
    assert track["image"] == "https://img.test/1"
    assert track["stats"] == {"plays": 0, "likes": 1, "comments": 1}
    assert track["viewer"] == {"like": like}
    assert track["labels"] == []
    assert track["verified"] is True
    assert isinstance(track["id"], int)


async def test_without_a_viewer_there_is_no_viewer_state(world: World):
    ann = world.seed.account("ann")
    uri = world.seed.track(ann, "one")
    world.seed.like(ann, uri)
    world.seed.commit()
    assert "viewer" not in (await world.server.ask("feed.getTrack", {"uri": uri}))["track"]


async def test_a_viewer_that_likes_nothing_has_an_empty_state(world: World):
    ann = world.seed.account("ann")
    uri = world.seed.track(ann, "one")
    world.seed.commit()
    known = await world.server.ask("feed.getTrack", {"uri": uri}, viewer=world.seed.dids[ann])
    stranger = await world.server.ask("feed.getTrack", {"uri": uri}, viewer="did:plc:stranger")
    assert known["track"]["viewer"] == stranger["track"]["viewer"] == {}


async def test_a_handle_may_stand_in_an_address(world: World):
    ann = world.seed.account("ann")
    uri = world.seed.track(ann, "one")
    world.seed.commit()
    by_handle = uri.replace(world.seed.dids[ann], "Ann.TEST")
    assert (await world.server.ask("feed.getTrack", {"uri": by_handle}))["track"]["uri"] == uri


async def test_an_account_without_a_checked_handle_shows_as_handle_invalid(world: World):
    uri = world.seed.track(world.seed.account(""), "one")
    world.seed.commit()
    answer = await world.server.ask("feed.getTrack", {"uri": uri})
    assert answer["track"]["author"]["handle"] == "handle.invalid"


async def test_tracks_come_in_the_order_asked_for_and_once(world: World):
    ann = world.seed.account("ann")
    one, two, three = (world.seed.track(ann, title) for title in ("one", "two", "three"))
    world.seed.commit()
    elsewhere = one.replace("fm.plyr.track", "fm.plyr.comment")
    asked = [three, elsewhere, one, "at://nobody.test/fm.plyr.track/3jzfcijpj2z2a", three, two]
    answer = await world.server.ask("feed.getTracks", [("uris", uri) for uri in asked])
    assert titles(answer) == ["three", "one", "two"]


async def test_latest_is_newest_first_whoever_it_is_from(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    world.seed.track(ann, "old", at=START - timedelta(days=400))
    world.seed.track(bob, "newest", at=START + timedelta(days=400))
    world.seed.track(ann, "new", at=START)
    world.seed.commit()
    assert titles(await world.server.ask("feed.getLatest")) == ["newest", "new", "old"]


async def test_top_is_by_likes_then_age_and_leaves_out_what_nobody_likes(world: World):
    fans = [world.seed.account(f"fan{number}") for number in range(3)]
    tracks = {title: world.seed.track(fans[0], title) for title in ("none", "older", "newer", "most")}
    for title, count in (("older", 1), ("newer", 1), ("most", 3)):
        for fan in fans[:count]:
            world.seed.like(fan, tracks[title])
    world.seed.commit()
    assert titles(await world.server.ask("feed.getTop")) == ["most", "newer", "older"]


async def test_actor_tracks_are_that_actors(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    for number in range(3):
        world.seed.track(ann, f"ann {number}")
        world.seed.track(bob, f"bob {number}")
    world.seed.commit()
    for name in ("ann.test", "ANN.test", world.seed.dids[ann]):
        answer = await world.server.ask("feed.getActorTracks", {"actor": name})
        assert titles(answer) == ["ann 2", "ann 1", "ann 0"]


async def test_a_track_liked_twice_by_one_account_stands_once_everywhere(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    uri = world.seed.track(ann, "one")
    first = world.seed.like(bob, uri)
    world.seed.like(bob, uri)
    world.seed.commit()
    likes = (await world.server.ask("feed.getLikes", {"uri": uri}))["likes"]
    liked = (await world.server.ask("feed.getActorLikes", {"actor": "bob.test"}))["likes"]
    assert [like["uri"] for like in likes] == [like["uri"] for like in liked] == [first]
    assert (await world.server.ask("feed.getTrack", {"uri": uri}))["track"]["stats"]["likes"] == 1
    assert (await world.server.ask("actor.getProfile", {"actor": "bob.test"}))["stats"]["likes"] == 1


async def test_likes_are_latest_first_with_who_gave_them(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    uri = world.seed.track(ann, "one")
    world.seed.like(ann, uri, at=START)
    world.seed.like(bob, uri, at=START + timedelta(microseconds=120_000))
    world.seed.commit()
    answer = await world.server.ask("feed.getLikes", {"uri": uri.replace(world.seed.dids[ann], "ann.test")})
    assert answer["uri"] == uri
    assert [like["actor"]["handle"] for like in answer["likes"]] == ["bob.test", "ann.test"]
    assert [like["createdAt"] for like in answer["likes"]] == [
        "2026-03-01T00:00:00.12Z",
        "2026-03-01T00:00:00Z",
    ]


async def test_actor_likes_show_the_tracks_latest_like_first(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    one, two = world.seed.track(ann, "one"), world.seed.track(ann, "two")
    likes = [world.seed.like(bob, two), world.seed.like(bob, one)]
    world.seed.commit()
    answer = await world.server.ask("feed.getActorLikes", {"actor": "bob.test"}, viewer=world.seed.dids[bob])
    assert [like["track"]["uri"] for like in answer["likes"]] == [one, two]
    assert [like["uri"] for like in answer["likes"]] == likes[::-1]
    assert [like["track"]["viewer"]["like"] for like in answer["likes"]] == likes[::-1]


async def test_comments_come_in_the_order_of_their_moments(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    uri = world.seed.track(ann, "one")
    for account, text, timestamp_ms in ((bob, "end", 90_000), (ann, "start", 0), (ann, "middle", 45_000)):
        world.seed.comment(account, uri, text, timestamp_ms)
    world.seed.commit()
    answer = await world.server.ask("feed.getComments", {"uri": uri})
    assert [comment["record"]["text"] for comment in answer["comments"]] == ["start", "middle", "end"]
    assert [comment["author"]["handle"] for comment in answer["comments"]] == [
        "ann.test",
        "ann.test",
        "bob.test",
    ]
    assert answer["uri"] == uri
