"""Labels in answers: those that hold, of those whose labels are wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appview.labelers import Labeler
from lexicons.catalog import Catalog
from storage import foreign_labels
from storage.foreign_labels import ForeignLabel
from tests.integration.appview.labelling import SRC, Bench, labelling
from tests.integration.appview.seed import Seed

ELSE = "did:plc:eeeeeeeeeeeeeeeeeeeeeeee"
SELF = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "sexual"}, {"val": "loud"}]}


@dataclass
class Labelled:
    """Ann, with a track, an album and a comment, and Bob, who likes and comments on it."""

    bench: Bench
    seed: Seed
    ann: str
    track: str
    album: str
    comment: str

    async def get(self, name: str, accept: str | None = None, **params: Any) -> Any:
        headers = {} if accept is None else {"atproto-accept-labelers": accept}
        path = f"/xrpc/fm.plyr.{name}"
        answer = await self.bench.server.request("GET", path, params=params, headers=headers)
        return answer.json

    async def track_view(self, accept: str | None = None) -> Any:
        return (await self.get("feed.getTrack", accept, uri=self.track))["track"]

    async def vals(self, accept: str | None = None) -> list[str]:
        return [each["val"] for each in (await self.track_view(accept))["labels"]]


@pytest.fixture
async def labelled(database: str, catalog: Catalog, tmp_path: Path) -> AsyncIterator[Labelled]:
    seed = Seed(database, catalog)
    ann, bob = seed.account("ann"), seed.account("bob")
    track = seed.track(ann, "Night ferry")
    seed.like(bob, track)
    comment = seed.comment(bob, track, "hm")
    album = seed.list_of(ann, "mix", [track])
    seed.commit()
    config = {"labelers": (Labeler(SRC),), "labels_fresh_s": 0, "other_labelers": (ELSE,)}
    async with labelling(database, catalog, tmp_path / "keys", config) as bench:
        yield Labelled(bench, seed, seed.dids[ann], track, album, comment)
    seed.close()


PLACES: dict[str, Callable[[Labelled], tuple[str, dict[str, Any], Callable[[Any], Any], str]]] = {
    "getTrack": lambda w: ("feed.getTrack", {"uri": w.track}, lambda a: a["track"], w.track),
    "getTracks": lambda w: ("feed.getTracks", {"uris": w.track}, lambda a: a["tracks"][0], w.track),
    "getLatest": lambda w: ("feed.getLatest", {}, lambda a: a["tracks"][0], w.track),
    "getTop": lambda w: ("feed.getTop", {}, lambda a: a["tracks"][0], w.track),
    "getActorTracks": lambda w: (
        "feed.getActorTracks", {"actor": w.ann}, lambda a: a["tracks"][0], w.track
    ),
    "getActorLikes": lambda w: (
        "feed.getActorLikes", {"actor": "bob.test"}, lambda a: a["likes"][0]["track"], w.track
    ),
    "searchTracks": lambda w: ("feed.searchTracks", {"q": "ferry"}, lambda a: a["tracks"][0], w.track),
    "getComments": lambda w: ("feed.getComments", {"uri": w.track}, lambda a: a["comments"][0], w.comment),
    "getList": lambda w: ("graph.getList", {"list": w.album}, lambda a: a["list"], w.album),
    "a track in getList": lambda w: (
        "graph.getList", {"list": w.album}, lambda a: a["items"][0]["track"], w.track
    ),
    "getActorLists": lambda w: ("graph.getActorLists", {"actor": w.ann}, lambda a: a["lists"][0], w.album),
    "getProfile": lambda w: ("actor.getProfile", {"actor": w.ann}, lambda a: a, w.ann),
    "getProfiles": lambda w: ("actor.getProfiles", {"actors": w.ann}, lambda a: a["profiles"][0], w.ann),
    "searchActors": lambda w: ("actor.searchActors", {"q": "ann"}, lambda a: a["actors"][0], w.ann),
    "a profile's record": lambda w: (
        "actor.getProfile", {"actor": w.ann}, lambda a: a, f"at://{w.ann}/fm.plyr.actor.profile/self"
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_x13_a_label_is_shown_where_what_it_is_about_is(labelled: Labelled, place: str):
    name, params, one, uri = PLACES[place](labelled)
    assert one(await labelled.get(name, **params))["labels"] == []
    await labelled.bench.emit(uri, "spam")
    (label,) = one(await labelled.get(name, **params))["labels"]
    assert (label["src"], label["uri"], label["val"], label["ver"]) == (SRC, uri, "spam", 1)
    assert "sig" not in label
    await labelled.bench.emit(uri, "spam", neg=True)
    assert one(await labelled.get(name, **params))["labels"] == []


async def test_l4_the_last_word_counts_and_what_is_over_is_not_shown(labelled: Labelled):
    emit, track = labelled.bench.emit, labelled.track
    await emit(track, "a")
    await emit(track, "b")
    await emit(track, "a", neg=True)
    await emit(track, "c", exp=datetime.now(UTC) - timedelta(seconds=1))
    await emit(track, "d", exp=datetime.now(UTC) + timedelta(hours=1))
    assert await labelled.vals() == ["b", "d"]
    await emit(track, "a")
    await emit(track, "d", exp=datetime.now(UTC) - timedelta(seconds=1))
    assert sorted(await labelled.vals()) == ["a", "b"]


async def test_a_label_of_one_version_is_on_that_version(labelled: Labelled):
    view = await labelled.track_view()
    other = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
    await labelled.bench.emit(labelled.track, "old", cid=other)
    await labelled.bench.emit(labelled.track, "this", cid=view["cid"])
    (label,) = (await labelled.track_view())["labels"]
    assert (label["val"], label["cid"]) == ("this", view["cid"])


@pytest.mark.parametrize(("accept", "shown"), [
    (None, ["spam"]),
    ("", []),
    (ELSE, []),
    (f"{ELSE}, {SRC}", ["spam"]),
    (f"{SRC};redact", ["spam"]),
])  # fmt: skip
async def test_x12_whose_labels_are_shown_is_the_callers_choice(
    labelled: Labelled, accept: str | None, shown: list[str]
):
    await labelled.bench.emit(labelled.track, "spam")
    assert await labelled.vals(accept) == shown


async def test_an_authors_own_labels_are_shown_whoever_asks(labelled: Labelled):
    uri = labelled.seed.track(1, "Loud", labels=SELF)
    elsewhere = labelled.seed.track(1, "Words", remark=SELF)
    labelled.seed.commit()
    for accept in (None, ""):
        view = (await labelled.get("feed.getTrack", accept, uri=uri))["track"]
        assert [(each["src"], each["val"]) for each in view["labels"]] == [
            (labelled.ann, "sexual"), (labelled.ann, "loud"),
        ]  # fmt: skip
        assert {(each["uri"], each["cid"]) for each in view["labels"]} == {(uri, view["cid"])}
        assert (await labelled.get("feed.getTrack", accept, uri=elsewhere))["track"]["labels"] == []


async def say_elsewhere(
    labelled: Labelled, uri: str, val: str, *, neg: bool = False, at: int = 1, **more: Any
) -> None:
    """As if it had come over the other labeler's stream."""
    said_at = datetime(2026, 11, at, tzinfo=UTC)
    ends_at = more.get("ends_at")
    label = ForeignLabel(
        ELSE,
        uri,
        val,
        more.get("cid"),
        neg,
        said_at.isoformat(),
        ends_at and ends_at.isoformat(),
        said_at,
        ends_at,
    )
    async with labelled.bench.pool.connection() as conn:
        await foreign_labels.put(conn, [label])


@pytest.mark.parametrize("place", PLACES)
async def test_labels_of_others_are_shown_to_those_who_ask_for_them(labelled: Labelled, place: str):
    name, params, one, uri = PLACES[place](labelled)
    await labelled.bench.emit(uri, "spam")
    await say_elsewhere(labelled, uri, "rude")
    await say_elsewhere(labelled, uri, "over", ends_at=datetime.now(UTC) - timedelta(seconds=1))
    await say_elsewhere(
        labelled, uri, "old", cid="bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
    )

    async def shown(accept: str | None) -> list[tuple[str, str]]:
        labels = one(await labelled.get(name, accept, **params))["labels"]
        return sorted((label["src"], label["val"]) for label in labels)

    assert await shown(None) == [(SRC, "spam")]
    assert await shown(ELSE) == [(ELSE, "rude")]
    assert await shown(f"{SRC}, {ELSE}") == [(ELSE, "rude"), (SRC, "spam")]
    await say_elsewhere(labelled, uri, "rude", neg=True, at=2)
    assert await shown(f"{SRC}, {ELSE}") == [(SRC, "spam")]


async def test_x13_another_labeler_that_may_redact_takes_down_for_who_asks_alone(labelled: Labelled):
    await say_elsewhere(labelled, labelled.ann, "!takedown")
    assert len((await labelled.get("feed.getLatest", ELSE))["tracks"]) == 1
    assert (await labelled.get("feed.getLatest", f"{ELSE};redact"))["tracks"] == []
    assert (await labelled.get("actor.getProfile", f"{ELSE};redact", actor=labelled.ann))[
        "error"
    ] == "ActorNotFound"
    assert len((await labelled.get("feed.getLatest"))["tracks"]) == 1


@pytest.mark.parametrize("val", ["!takedown", "!suspend"])
async def test_x13_what_a_labeler_takes_down_is_left_out_if_it_may_redact(labelled: Labelled, val: str):
    redact = f"{SRC};redact"
    uris = {"track": labelled.track, "account": labelled.ann, "list": labelled.album}
    for what, uri in uris.items():
        await labelled.bench.emit(uri, val)
        lists = await labelled.get("graph.getActorLists", redact, actor=labelled.ann)
        assert (lists["lists"] == []) == (what in ("account", "list"))
        if what != "list":
            assert (await labelled.get("feed.getTrack", redact, uri=labelled.track))[
                "error"
            ] == "TrackNotFound"
            for name in ("feed.getLatest", "feed.getTop"):
                assert (await labelled.get(name, redact))["tracks"] == []
            likes = await labelled.get("feed.getActorLikes", redact, actor="bob.test")
            assert likes["likes"] == []
            if what == "track":
                assert (await labelled.get("graph.getList", redact, list=labelled.album))["items"] == []
            else:
                missing = await labelled.get("actor.getProfile", redact, actor=labelled.ann)
                assert missing["error"] == "ActorNotFound"
        else:
            missing = await labelled.get("graph.getList", redact, list=labelled.album)
            assert missing["error"] == "ListNotFound"
        # Others are told, and decide for themselves.
        assert (await labelled.get("graph.getList", list=labelled.album))["items"]
        await labelled.bench.emit(uri, val, neg=True)
        assert len((await labelled.get("feed.getLatest", redact))["tracks"]) == 1
