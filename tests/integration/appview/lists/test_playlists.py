"""/lists/ over HTTP: playlists on their owner's PDS, seen at once, and never less than what was put in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import psycopg
import pytest

from appview.list_record import MOST_ITEMS
from appview.rest import list_shapes
from appview.rest.playlist_edits import PlaylistDeleted, Written
from appview.rest.playlists import ListAt, Suggestions
from indexer.sanctions import take_down
from lexicons.subject import read_subject
from lexicons.syntax import Did
from tests.fakenet.home import REPO
from tests.fakenet.world import LIST, TRACK, album
from tests.integration.appview.lists.shelf import CATALOG, Shelf, picture, shelved
from tests.integration.appview.lists.test_album_edits import R, cover

PLAYLISTS = "/lists/playlists"
PUT = REPO + "putRecord"


async def made(shelf: Shelf, who: Did, name: str = "Evenings") -> Any:
    return await shelf.told("POST", PLAYLISTS, list_shapes.Playlist, who, json={"name": name})


async def reference(shelf: Shelf, uri: str) -> dict[str, str]:
    [(cid,)] = await shelf.square.rows("select cid from track join track_uri using (id) where uri = %s", uri)
    return {"track_uri": uri, "track_cid": cid}


async def add(shelf: Shelf, who: Did, id: str, uri: str) -> Any:
    body = await reference(shelf, uri)
    return await shelf.told("POST", f"{PLAYLISTS}/{id}/tracks", list_shapes.Playlist, who, json=body)


async def titles(shelf: Shelf, id: str) -> list[str]:
    whole = await shelf.told("GET", f"{PLAYLISTS}/{id}", list_shapes.PlaylistWithTracks)
    return [track["title"] for track in whole["tracks"]]


async def three(shelf: Shelf, **more: Any) -> list[str]:
    for n in range(3):
        await shelf.publish(shelf.ana, R[n], f"T{n}", **more)
    return [shelf.square.ana.uri(TRACK, R[n]) for n in range(3)]


async def test_a_playlist_is_a_list_on_its_owners_pds(shelf: Shelf) -> None:
    one, two, _ = await three(shelf, imageUrl="https://img.example/t.png")
    bob = await shelf.square.person("bob")
    empty = await made(shelf, bob, " Evenings ")
    assert (empty["name"], empty["owner_did"], empty["track_count"]) == ("Evenings", bob, 0)
    for uri in (one, two):
        after = await add(shelf, bob, empty["id"], uri)
    image = "https://img.example/t.png"
    assert after == empty | {"track_count": 2, "preview_thumbnails": [image, image]}
    [(rkey, record)] = shelf.square.pds.records(bob, LIST).items()
    assert after["atproto_record_uri"] == f"at://{bob}/{LIST}/{rkey}"
    assert (record["listType"], record["name"]) == ("playlist", "Evenings")
    assert [each["subject"]["uri"] for each in record["items"]] == [one, two]
    whole = await shelf.told("GET", f"{PLAYLISTS}/{empty['id']}", list_shapes.PlaylistWithTracks, shelf.ana)
    assert {key: value for key, value in whole.items() if key != "tracks"} == after
    assert [track["title"] for track in whole["tracks"]] == ["T0", "T1"]
    assert await shelf.told("GET", f"{PLAYLISTS}/{empty['id']}/meta", list_shapes.Playlist) == after
    assert await shelf.told("GET", PLAYLISTS, list[list_shapes.Playlist], bob) == [after]
    assert await shelf.told("GET", PLAYLISTS, list[list_shapes.Playlist], shelf.ana) == []
    by_uri = f"{PLAYLISTS}/by-uri?uri={quote(after['atproto_record_uri'], safe='')}"
    assert await shelf.told("GET", by_uri, list_shapes.PlaylistWithTracks, shelf.ana) == whole
    await shelf.proven()


async def test_a_playlist_that_is_taken_down_while_it_is_changed_is_not_found(shelf: Shelf) -> None:
    one, _, _ = await three(shelf)
    bob = await shelf.square.person("bob")
    playlist = await made(shelf, bob)
    shelf.square.pds.held[PUT] = answered = asyncio.Event()
    body = await reference(shelf, one)
    adding = asyncio.create_task(
        shelf.refused("POST", f"{PLAYLISTS}/{playlist['id']}/tracks", bob, json=body)
    )
    while not shelf.lists(bob)[0]["items"]:
        await asyncio.sleep(0.01)
    subject = read_subject(playlist["atproto_record_uri"])
    async with await psycopg.AsyncConnection.connect(shelf.square.dsn) as conn:
        assert await take_down(conn, subject, "spam", CATALOG)
    answered.set()
    assert await adding == (404, "playlist not found")


async def test_fifty_tracks_put_in_at_once_are_all_there(database: str, tmp_path: Path) -> None:
    """By two servers, and while another app writes into the record, too."""
    async with shelved(database, tmp_path, servers=2) as shelf:
        uris = []
        for n in range(50):
            rkey = f"3mpt2222222{'234567abcd'[n // 10]}{'234567abcd'[n % 10]}"
            if rkey != "3mpt222222222":
                await shelf.publish(shelf.ana, rkey, f"T{n}")
            uris.append(shelf.square.ana.uri(TRACK, rkey))
        id = (await made(shelf, shelf.ana))["id"]
        before = shelf.lists(shelf.ana)[0]
        bodies = [await reference(shelf, uri) for uri in uris]
        [rkey] = shelf.square.pds.records(shelf.ana, LIST)

        async def meddle() -> None:
            for n in range(20):
                [now] = shelf.lists(shelf.ana)
                shelf.square.pds.write(shelf.ana, "update", LIST, rkey, now | {f"mood{n}": n})
                await asyncio.sleep(0.02)

        meddling = asyncio.create_task(meddle())
        answers = await asyncio.gather(
            *(
                shelf.ask("POST", f"{PLAYLISTS}/{id}/tracks", shelf.ana, at=n, json=body)
                for n, body in enumerate(bodies)
            )
        )
        await meddling
        assert {each.status for each in answers} == {200}
        [record] = shelf.lists(shelf.ana)
        assert sorted(each["subject"]["uri"] for each in record["items"]) == sorted(uris)
        assert record["createdAt"] == before["createdAt"]
        assert {f"mood{n}" for n in range(20)} <= record.keys()
        assert len(await titles(shelf, id)) == 50
        await shelf.proven()


async def test_tracks_are_taken_out_and_put_in_another_order(shelf: Shelf) -> None:
    uris = await three(shelf)
    id = (await made(shelf, shelf.ana))["id"]
    for uri in uris:
        await add(shelf, shelf.ana, id, uri)
    body = {"items": [{"uri": uris[2], "cid": "x"}, {"uri": uris[0], "cid": "x"}]}
    await shelf.told("PUT", f"{PLAYLISTS}/{id}/reorder", list_shapes.Playlist, shelf.ana, json=body)
    assert await titles(shelf, id) == ["T2", "T0", "T1"]
    [rkey] = shelf.square.pds.records(shelf.ana, LIST)
    body = {"items": [{"uri": uri} for uri in uris]}
    put = await shelf.told("PUT", f"/lists/{rkey}/reorder", Written, shelf.ana, json=body)
    assert put["uri"] == f"at://{shelf.ana}/{LIST}/{rkey}"
    assert await titles(shelf, id) == ["T0", "T1", "T2"]
    for path in (uris[1], quote(uris[0], safe="")):
        await shelf.told("DELETE", f"{PLAYLISTS}/{id}/tracks/{path}", list_shapes.Playlist, shelf.ana)
    assert await titles(shelf, id) == ["T2"]
    await shelf.proven()


async def test_what_others_know_of_it_and_what_is_hidden_stays_in_the_record(shelf: Shelf) -> None:
    one, two, three_ = await three(shelf)
    record = album("Mix", [one, two]) | {"listType": "playlist", "mood": {"x": 1}}
    await shelf.square.echo(shelf.square.pds.write(shelf.ana, "create", LIST, R[5], record))
    [(id,)] = await shelf.square.rows("select id::text from list")
    await shelf.square.echo(shelf.square.pds.write(shelf.ana, "delete", TRACK, R[0], None))
    assert await titles(shelf, id) == ["T1"]
    after = await add(shelf, shelf.ana, id, three_)
    assert after["track_count"] == 2
    [written] = shelf.lists(shelf.ana)
    assert [each["subject"]["uri"] for each in written["items"]] == [one, two, three_]
    assert (written["mood"], written["createdAt"]) == (record["mood"], record["createdAt"])


async def test_a_playlist_is_called_otherwise_and_shown_with_its_owners_profile(shelf: Shelf) -> None:
    before = await made(shelf, shelf.ana)
    path, by_artist = f"{PLAYLISTS}/{before['id']}", f"{PLAYLISTS}/by-artist/{shelf.ana}"
    assert await shelf.told("GET", by_artist, list[list_shapes.Playlist]) == []
    data = {"name": "Nights", "show_on_profile": "True", "mood": "x"}
    after = await shelf.told("PATCH", path, list_shapes.Playlist, shelf.ana, data=data)
    assert after == before | {"name": "Nights", "show_on_profile": True}
    assert shelf.lists(shelf.ana)[0]["name"] == "Nights"
    assert await shelf.told("GET", by_artist, list[list_shapes.Playlist]) == [after]
    assert await shelf.told("GET", f"{PLAYLISTS}/by-artist/did:plc:nobody", list[list_shapes.Playlist]) == []
    parts = aiohttp.FormData(default_to_multipart=True)
    parts.add_field("show_on_profile", "false")
    again = await shelf.told("PATCH", path, list_shapes.Playlist, shelf.ana, data=parts)
    assert again == after | {"show_on_profile": False}


async def test_a_cover_is_there_until_it_is_taken_away_and_with_the_playlist(shelf: Shelf) -> None:
    before = await made(shelf, shelf.ana)
    path = f"{PLAYLISTS}/{before['id']}"

    async def put(colour: str) -> Any:
        data = cover(picture(colour))
        return await shelf.told("POST", f"{path}/cover", list_shapes.Cover, shelf.ana, data=data)

    first = await put("red")
    assert (await shelf.ask("GET", f"/image/{first['image_id']}")).status == 200
    shown = await shelf.told("GET", f"{path}/meta", list_shapes.Playlist)
    assert shown["image_url"] == first["image_url"]
    assert await shelf.told("DELETE", f"{path}/cover", list_shapes.Playlist, shelf.ana) == before
    # The collector has the first one in its hands.
    await shelf.square.rows(
        "update blob set state = 'deleting', lease_until = now() + interval '1 h' where owners = 0"
    )
    told = await shelf.ask("POST", f"{path}/cover", shelf.ana, data=cover(picture("red")))
    assert (told.status, told.headers["Retry-After"]) == (503, "1")
    await put("blue")
    assert await shelf.told("DELETE", path, PlaylistDeleted, shelf.ana) == {"deleted": True}
    assert shelf.lists(shelf.ana) == []
    assert await shelf.refused("GET", path) == (404, "playlist not found")
    assert await shelf.square.rows("select 1 from list_look") == []
    assert await shelf.square.rows("select 1 from blob_owner where kind = 'list'") == []


async def test_a_list_is_found_by_its_address(shelf: Shelf) -> None:
    one, *_ = await three(shelf)
    playlist = await made(shelf, shelf.ana)
    await shelf.square.echo(
        shelf.square.pds.write(shelf.ana, "create", LIST, R[5], album("Low Water", [one]))
    )

    async def at(uri: str) -> Any:
        return await shelf.told("GET", "/lists/by-uri", ListAt, params={"uri": uri})

    found = await at(playlist["atproto_record_uri"])
    assert (found["type"], found["id"], found["slug"]) == ("playlist", playlist["id"], None)
    found = await at(shelf.square.ana.uri(LIST, R[5]))
    assert (found["type"], found["slug"]) == ("album", "low-water")
    for uri in (one, shelf.square.ana.uri(LIST, R[4]), f"at://nobody.test/{LIST}/{R[5]}"):
        told = await shelf.refused("GET", "/lists/by-uri", params={"uri": uri})
        assert told == (404, "list not found")
    assert (await shelf.refused("GET", "/lists/by-uri", params={"uri": "x"}))[0] == 422
    assert (await shelf.refused("GET", "/lists/by-uri"))[0] == 422


async def test_nobody_suggests_tracks(shelf: Shelf) -> None:
    path = f"{PLAYLISTS}/{(await made(shelf, shelf.ana))['id']}/recommendations"
    told = await shelf.told("GET", path, Suggestions, shelf.ana)
    assert told == {"tracks": [], "available": False}
    assert (await shelf.refused("GET", path))[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"data": {"name": "x"}}),
        ("DELETE", "", {}),
        ("POST", "/tracks", {"json": {"track_uri": "x", "track_cid": "x"}}),
        ("DELETE", "/tracks/at://x/y/z", {}),
        ("PUT", "/reorder", {"json": {"items": []}}),
        ("POST", "/cover", {"json": {}}),
        ("DELETE", "/cover", {}),
    ],
)
async def test_only_its_owner_changes_a_playlist(
    shelf: Shelf, method: str, path: str, body: dict[str, Any]
) -> None:
    bob = await shelf.square.person("bob")
    url = f"{PLAYLISTS}/{(await made(shelf, shelf.ana))['id']}{path}"
    assert await shelf.refused(method, url, bob, **body) == (403, "you can only change your own playlists")
    assert (await shelf.refused(method, url, **body))[0] == 401
    for id in ("999", "x", "0"):
        told = await shelf.refused(method, f"{PLAYLISTS}/{id}{path}", shelf.ana, **body)
        assert told == (404, "playlist not found")
    assert shelf.lists(shelf.ana)[0]["items"] == []


async def test_what_cannot_be_is_refused(shelf: Shelf) -> None:
    one, two, _ = await three(shelf)
    id = (await made(shelf, shelf.ana))["id"]
    path = f"{PLAYLISTS}/{id}"
    await add(shelf, shelf.ana, id, one)

    async def post(body: Any, path: str = f"{path}/tracks") -> tuple[int, Any]:
        return await shelf.refused("POST", path, shelf.ana, json=body)

    known = await reference(shelf, one)
    assert await post(known) == (400, "track already in playlist")
    assert await post(known | {"track_uri": f"at://{shelf.ana}/{TRACK}/3mpt222222277"}) == (
        404, "track not found",
    )  # fmt: skip
    assert (await post({"track_uri": two, "track_cid": "no cid"}))[0] == 422
    assert (await post({"track_uri": two}))[0] == 422
    assert await shelf.refused("DELETE", f"{path}/tracks/{two}", shelf.ana) == (
        404, "track not found in playlist",
    )  # fmt: skip
    assert (await post({"name": " "}, PLAYLISTS))[0] == 422
    assert (await post({"name": "x" * 65}, PLAYLISTS))[0] == 422
    assert (await post({"name": "x", "is_private": True}, PLAYLISTS))[0] == 400
    assert (await shelf.refused("PATCH", path, shelf.ana, data={"is_private": "true"}))[0] == 400
    assert (await shelf.refused("PATCH", path, shelf.ana, data={"show_on_profile": "maybe"}))[0] == 422
    for kind, body, status in (
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken", 400),
        ("text/plain", b"name=x", 400),
        ("application/x-www-form-urlencoded", b"name=" + bytes(70_000), 413),
    ):
        headers = {"Content-Type": kind}
        assert (await shelf.refused("PATCH", path, shelf.ana, data=body, headers=headers))[0] == status
    told = await shelf.refused("PUT", f"/lists/{R[4]}/reorder", shelf.ana, json={"items": []})
    assert told == (404, "list not found")
    assert len(shelf.lists(shelf.ana)) == 1


async def test_a_full_playlist_takes_no_more(shelf: Shelf) -> None:
    one, two, _ = await three(shelf)
    record = album("Full", [one] * MOST_ITEMS) | {"listType": "playlist"}
    await shelf.square.echo(shelf.square.pds.write(shelf.ana, "create", LIST, R[5], record))
    [(id,)] = await shelf.square.rows("select id::text from list")
    assert len(await titles(shelf, id)) == MOST_ITEMS
    # Every item can be named in its new order.
    cid = (await reference(shelf, one))["track_cid"]
    items = {"items": [{"uri": one, "cid": cid}] * MOST_ITEMS}
    assert len(orjson.dumps(items)) > 1 << 16
    for path in (f"{PLAYLISTS}/{id}/reorder", f"/lists/{R[5]}/reorder"):
        assert (await shelf.ask("PUT", path, shelf.ana, json=items)).status == 200
    body = await reference(shelf, two)
    assert await shelf.refused("POST", f"{PLAYLISTS}/{id}/tracks", shelf.ana, json=body) == (
        400, "a playlist has at most 500 tracks",
    )  # fmt: skip
