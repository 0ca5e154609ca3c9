"""What the actor, graph and server methods answer."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.integration.appview.service import World


async def test_a_profile_says_who_and_how_much(world: World):
    ann = world.seed.account(
        "ann",
        bio="Läuft & “singt”\n",
        avatar="https://img.test/a",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    track = world.seed.track(ann, "one")
    world.seed.like(ann, track)
    world.seed.list_of(ann, "album", [track])
    world.seed.commit()
    answer = await world.server.ask("actor.getProfile", {"actor": "Ann.test"})
    assert answer == {
        "did": world.seed.dids[ann],
        "handle": "ann.test",
        "displayName": "Ann",
        "avatar": "https://img.test/a",
        "bio": "Läuft & “singt”\n",
        "createdAt": "2026-01-02T00:00:00Z",
        "stats": {"tracks": 1, "likes": 1, "lists": 1},
        "labels": [],
    }


async def test_profiles_come_in_the_order_asked_for_and_once(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    world.seed.commit()
    asked = ["bob.test", "nobody.test", world.seed.dids[ann], "ann.test", world.seed.dids[bob]]
    answer = await world.server.ask("actor.getProfiles", [("actors", name) for name in asked])
    assert [profile["handle"] for profile in answer["profiles"]] == ["bob.test", "ann.test"]


async def test_a_list_shows_its_tracks_in_its_order(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    one, two = world.seed.track(ann, "one"), world.seed.track(bob, "two")
    uri = world.seed.list_of(ann, "mix", [two, one, two, "at://did:plc:gone/fm.plyr.track/3jzfcijpj2z2a"])
    like = world.seed.like(bob, two)
    world.seed.commit()
    answer = await world.server.ask("graph.getList", {"list": uri}, viewer=world.seed.dids[bob])
    assert [(item["position"], item["track"]["uri"]) for item in answer["items"]] == [
        (0, two),
        (1, one),
        (2, two),
    ]
    assert answer["items"][0]["track"]["viewer"] == {"like": like}
    assert answer["list"]["uri"] == uri
    assert answer["list"]["itemCount"] == 3
    assert answer["list"]["record"]["name"] == "mix"
    assert answer["list"]["author"]["handle"] == "ann.test"
    assert "cursor" not in answer


async def test_lists_of_an_actor_are_newest_first_and_by_type(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    album = world.seed.list_of(ann, "album", [])
    world.seed.list_of(bob, "other", [])
    playlist = world.seed.list_of(ann, "playlist", [], list_type="playlist")
    world.seed.commit()
    both = await world.server.ask("graph.getActorLists", {"actor": "ann.test"})
    assert [view["uri"] for view in both["lists"]] == [playlist, album]
    one = await world.server.ask("graph.getActorLists", {"actor": "ann.test", "listType": "album"})
    assert [view["uri"] for view in one["lists"]] == [album]


async def test_describe_says_what_is_read_and_how_fresh(world: World):
    world.seed.source("wss://relay.test", 42)
    world.seed.commit()
    answer = await world.server.ask("server.describe")
    assert answer["version"] == "9.8.7"
    assert answer["namespace"] == "fm.plyr"
    assert "fm.plyr.track" in answer["collections"]
    assert "fm.plyr.server.describe" in answer["methods"]
    (source,) = answer["sources"]
    assert (source["url"], source["seq"]) == ("wss://relay.test", 42)
    assert 0 <= source["ageS"] < 60


async def test_stats_count_what_is_there(world: World):
    ann, bob = world.seed.account("ann"), world.seed.account("bob")
    one, two = world.seed.track(ann, "one"), world.seed.track(ann, "two")
    world.seed.like(bob, one)
    world.seed.like(ann, one)
    world.seed.comment(bob, two, "nice")
    world.seed.list_of(bob, "mix", [one])
    world.seed.commit()
    assert await world.server.ask("server.getStats") == {
        "tracks": 2,
        "artists": 1,
        "accounts": 2,
        "likes": 2,
        "comments": 1,
        "lists": 1,
        "plays": 0,
    }


async def test_everything_answers_while_there_is_nothing(world: World):
    assert (await world.server.ask("feed.getLatest")) == {"tracks": []}
    assert (await world.server.ask("feed.getTop")) == {"tracks": []}
    assert (await world.server.ask("feed.searchTracks", {"q": "x"})) == {"tracks": []}
    assert (await world.server.ask("actor.searchActors", {"q": "x"})) == {"actors": []}
    assert (await world.server.ask("server.describe"))["sources"] == []
    assert (await world.server.ask("server.getStats"))["tracks"] == 0
