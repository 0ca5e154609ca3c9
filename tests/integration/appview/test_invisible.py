"""Rule X21: what is hidden or gone is absent from every method and every count."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.appview.service import World


class Hidden:
    """Ann is seen. Eve is hidden, and both did the same. One track is gone."""

    def __init__(self, world: World) -> None:
        seed = world.seed
        self.server = world.server
        self.ann, self.eve = seed.account("ann"), seed.account("eve", hidden=True, bio="evil")
        self.eve_did = seed.dids[self.eve]
        self.seen = seed.track(self.ann, "seen song")
        self.hidden = seed.track(self.eve, "hidden song")
        self.gone = seed.track(self.ann, "gone song")
        for account in (self.ann, self.eve):
            for track in (self.seen, self.hidden, self.gone):
                seed.like(account, track)
                seed.comment(account, track, "words")
        self.ann_list = seed.list_of(self.ann, "ann's", [self.hidden, self.seen, self.gone])
        self.eve_list = seed.list_of(self.eve, "eve's", [self.seen])
        seed.forget(self.gone)
        seed.commit()


@pytest.fixture
def hidden(world: World) -> Hidden:
    return Hidden(world)


async def test_x21_hidden_and_deleted_things_are_invisible_everywhere(hidden: Hidden):
    ask = hidden.server.ask
    seen = hidden.seen

    def uris(answer: dict[str, Any]) -> list[str]:
        return [track["uri"] for track in answer["tracks"]]

    asked = [("uris", uri) for uri in (hidden.seen, hidden.hidden, hidden.gone)]
    assert uris(await ask("feed.getTracks", asked)) == [seen]
    assert uris(await ask("feed.getLatest")) == [seen]
    assert uris(await ask("feed.getTop")) == [seen]
    assert uris(await ask("feed.getActorTracks", {"actor": "ann.test"})) == [seen]
    assert uris(await ask("feed.searchTracks", {"q": "song"})) == [seen]
    assert uris(await ask("feed.searchTracks", {"q": "eve"})) == []

    likes = await ask("feed.getActorLikes", {"actor": "ann.test"})
    assert [like["track"]["uri"] for like in likes["likes"]] == [seen]
    likes = await ask("feed.getLikes", {"uri": seen})
    assert [like["actor"]["handle"] for like in likes["likes"]] == ["ann.test"]
    comments = await ask("feed.getComments", {"uri": seen})
    assert [comment["author"]["handle"] for comment in comments["comments"]] == ["ann.test"]

    profiles = await ask(
        "actor.getProfiles", [("actors", name) for name in ("eve.test", "ann.test", hidden.eve_did)]
    )
    assert [profile["handle"] for profile in profiles["profiles"]] == ["ann.test"]
    assert profiles["profiles"][0]["stats"] == {"tracks": 1, "likes": 1, "lists": 1}
    assert (await ask("actor.searchActors", {"q": "eve"}))["actors"] == []

    view = await ask("graph.getList", {"list": hidden.ann_list})
    assert [(item["position"], item["track"]["uri"]) for item in view["items"]] == [(1, seen)]
    assert view["list"]["itemCount"] == 1
    lists = await ask("graph.getActorLists", {"actor": "ann.test"})
    assert [(view["uri"], view["itemCount"]) for view in lists["lists"]] == [(hidden.ann_list, 1)]

    track = (await ask("feed.getTrack", {"uri": seen}))["track"]
    assert track["stats"] == {"plays": 0, "likes": 1, "comments": 1}
    assert await ask("server.getStats") == {
        "tracks": 1, "artists": 1, "accounts": 1, "likes": 1, "comments": 1, "lists": 1, "plays": 0,
    }  # fmt: skip
    page = await hidden.server.request("GET", "/")
    assert b"seen song" in page.body
    assert b"hidden song" not in page.body
    assert b"gone song" not in page.body


async def test_x21_asked_for_by_name_they_are_not_found(hidden: Hidden):
    for uri in (hidden.hidden, hidden.gone, hidden.hidden.replace(hidden.eve_did, "eve.test")):
        for method in ("feed.getTrack", "feed.getLikes", "feed.getComments"):
            assert await hidden.server.refused(method, {"uri": uri}) == (400, "TrackNotFound")
    for actor in ("eve.test", hidden.eve_did):
        for method in (
            "actor.getProfile",
            "feed.getActorTracks",
            "feed.getActorLikes",
            "graph.getActorLists",
        ):
            assert await hidden.server.refused(method, {"actor": actor}) == (400, "ActorNotFound")
    assert await hidden.server.refused("graph.getList", {"list": hidden.eve_list}) == (400, "ListNotFound")


async def test_x21_nothing_that_eve_wrote_stands_in_any_answer(hidden: Hidden):
    """Ann's list names eve's track in its own record, which ann signed; no view of that track is in it."""
    for method, params in {
        "feed.getLatest": {},
        "feed.getTop": {},
        "feed.getLikes": {"uri": hidden.seen},
        "feed.getComments": {"uri": hidden.seen},
        "feed.getActorLikes": {"actor": "ann.test"},
        "actor.getProfile": {"actor": "ann.test"},
        "feed.searchTracks": {"q": "song"},
    }.items():
        answer = await hidden.server.request("GET", f"/xrpc/fm.plyr.{method}", params=params)
        assert answer.status == 200
        assert hidden.eve_did.encode() not in answer.body, method


async def test_a_hidden_account_that_is_shown_again_is_all_there(world: World):
    hidden = Hidden(world)
    world.seed.conn.execute("update profile set hidden = false")
    world.seed.commit()
    assert (await world.server.ask("server.getStats"))["tracks"] == 2
    assert len((await world.server.ask("feed.getLikes", {"uri": hidden.seen}))["likes"]) == 2
    assert (await world.server.ask("graph.getList", {"list": hidden.eve_list}))["list"]["itemCount"] == 1
