"""Albums of one's own over REST: what is written to the PDS, what is seen at once, and what is refused."""

from __future__ import annotations

import asyncio
import io
import itertools
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appview.jobs import house
from appview.rest import list_shapes
from appview.rest.album_edits import AlbumDeleted, TrackTakenOff
from storage import deletions, list_look
from storage.postgres import make_pool
from tests.fakenet.home import REPO
from tests.fakenet.http import json_page
from tests.fakenet.world import LIST, TRACK, album
from tests.integration.appview.lists.shelf import Shelf, picture, shelved

PUT = REPO + "putRecord"
R = [f"3mpt22222223{n}" for n in range(2, 8)]


async def three(shelf: Shelf, **more: Any) -> list[int]:
    return [await shelf.publish(shelf.ana, R[n], f"T{n}", album="Low Water", **more) for n in range(3)]


async def shown(shelf: Shelf, slug: str = "low-water") -> Any:
    return await shelf.told("GET", f"/albums/{shelf.ana}/{slug}", list_shapes.Album)


async def titles(shelf: Shelf, slug: str = "low-water") -> list[str]:
    return [track["title"] for track in (await shown(shelf, slug))["tracks"]]


async def id_of(shelf: Shelf, slug: str = "low-water") -> str:
    return (await shown(shelf, slug))["metadata"]["id"]


def cover(data: bytes, name: str = "a.png") -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("image", io.BytesIO(data), filename=name, content_type="application/octet-stream")
    return made


async def test_an_album_begins_empty_and_takes_what_names_it(shelf: Shelf) -> None:
    body = {"title": " Löw Water ", "description": "One evening.", "slug": "x", "mood": 1}
    made = await shelf.told("POST", "/albums/", list_shapes.AlbumMetadata, shelf.ana, json=body)
    [record] = shelf.lists(shelf.ana)
    assert (record["name"], record["listType"], record["items"]) == ("Löw Water", "album", [])
    assert (made["slug"], made["track_count"], made["description"]) == ("low-water", 0, "One evening.")
    await three(shelf)
    album = await shown(shelf)
    assert album["metadata"] == made | {"track_count": 3}
    await shelf.proven()


async def test_a_name_is_an_albums_own(shelf: Shelf) -> None:
    """Also where the other is a title that tracks name; fifty who want it at once make one."""
    taken = 409, "another of your albums already uses that name"
    await three(shelf)
    body = {"title": "LOW water"}
    assert await shelf.refused("POST", "/albums/", shelf.ana, json=body) == taken
    asked = [shelf.ask("POST", "/albums/", shelf.ana, json={"title": "Dusk"}) for _ in range(50)]
    answers = await asyncio.gather(*asked)
    assert sorted(each.status for each in answers) == [200] + [409] * 49
    assert len(shelf.lists(shelf.ana)) == 1


async def test_an_order_makes_a_list_of_what_was_a_title(shelf: Shelf) -> None:
    one, two, three_ = await three(shelf)
    id = await id_of(shelf)
    body = {"track_ids": [three_, one]}
    put = await shelf.told("POST", f"/albums/{id}/finalize", list_shapes.AlbumMetadata, shelf.ana, json=body)
    assert put["id"] == id
    assert put["list_uri"].startswith(f"at://{shelf.ana}/{LIST}/")
    assert await titles(shelf) == ["T2", "T0", "T1"]
    [record] = shelf.lists(shelf.ana)
    assert [each["subject"]["uri"][-13:] for each in record["items"]] == [R[2], R[0], R[1]]
    body = {"track_ids": [two, three_, one]}
    await shelf.told("POST", f"/albums/{id}/finalize", list_shapes.AlbumMetadata, shelf.ana, json=body)
    [after] = shelf.lists(shelf.ana)
    assert (after["createdAt"], after["name"]) == (record["createdAt"], "Low Water")
    assert await titles(shelf) == ["T1", "T2", "T0"]
    await shelf.proven()


async def test_of_many_who_put_a_title_in_order_one_list_comes(database: str, tmp_path: Path) -> None:
    """By two servers; and who wants the name for a new album at the same time is told that it is taken."""
    async with shelved(database, tmp_path, servers=2) as shelf:
        ids = await three(shelf)
        path = f"/albums/{await id_of(shelf)}/finalize"
        orders = list(itertools.permutations(ids)) * 4
        answers = await asyncio.gather(
            *(
                shelf.ask("POST", path, shelf.ana, at=n, json={"track_ids": order})
                for n, order in enumerate(orders)
            ),
            *(shelf.ask("POST", "/albums/", shelf.ana, at=n, json={"title": "low water"}) for n in range(10)),
        )
        assert [each.status for each in answers] == [200] * 24 + [409] * 10
        [record] = shelf.lists(shelf.ana)
        assert sorted(each["subject"]["uri"][-13:] for each in record["items"]) == R[:3]
        assert sorted(await titles(shelf)) == ["T0", "T1", "T2"]
        assert await shelf.square.rows("select 1 from write_turn") == []
        await shelf.proven()


async def test_what_others_know_of_a_list_survives_a_change_of_it(shelf: Shelf) -> None:
    ids = await three(shelf)
    strange = "at://did:plc:abcdefghijklmnopqrstuvwx/other.app.song/3mpt222222222"
    record: dict[str, Any] = album("Low Water", [shelf.square.ana.uri(TRACK, R[0]), strange]) | {
        "mood": {"x": 1}
    }
    record["items"][0]["note"] = "first"
    await shelf.square.echo(shelf.square.pds.write(shelf.ana, "create", LIST, R[5], record))
    body = {"track_ids": [ids[2], ids[0]]}
    await shelf.told(
        "POST", f"/albums/{await id_of(shelf)}/finalize", list_shapes.AlbumMetadata, shelf.ana, json=body
    )
    [after] = shelf.lists(shelf.ana)
    assert (after["mood"], after["createdAt"]) == (record["mood"], record["createdAt"])
    assert [each["subject"]["uri"].rpartition("/")[2] for each in after["items"]] == [
        R[2], R[0], "3mpt222222222",
    ]  # fmt: skip
    assert after["items"][1]["note"] == "first"


async def test_an_order_of_what_is_not_there_is_refused(shelf: Shelf) -> None:
    one, *_ = await three(shelf)
    bob = await shelf.square.person("bob")
    path = f"/albums/{await id_of(shelf)}/finalize"

    async def order(*ids: int) -> Any:
        return await shelf.refused("POST", path, shelf.ana, json={"track_ids": list(ids)})

    single = shelf.square.track_id
    assert await order() == (400, "track_ids must not be empty")
    assert await order(one, 999_999, 2**70) == (400, f"track(s) not found: [{2**70}]")
    assert await order(one, 999_999) == (400, "track(s) not found: [999999]")
    assert await order(single, one) == (400, f"track(s) do not belong to this album: [{single}]")
    assert await shelf.refused("POST", path, bob, json={"track_ids": [one]}) == (
        403, "you can only edit your own albums",
    )  # fmt: skip
    assert (await shelf.refused("POST", path, json={"track_ids": [one]}))[0] == 401
    assert (await shelf.refused("POST", path, shelf.ana, json={}))[0] == 422
    for id in ("x", "00000000-0000-0000-0000-000000000000"):
        body = {"track_ids": [one]}
        told = await shelf.refused("POST", f"/albums/{id}/finalize", shelf.ana, json=body)
        assert told == (404, "album not found")
    assert shelf.lists(shelf.ana) == []


async def test_another_title_is_in_the_list_and_in_its_tracks(shelf: Shelf) -> None:
    await three(shelf, mood={"kept": True})
    path = f"/albums/{await id_of(shelf)}"
    params = {"title": "Hochwasser", "description": "Later."}
    after = await shelf.told("PATCH", path, list_shapes.AlbumMetadata, shelf.ana, params=params)
    assert (after["title"], after["slug"], after["track_count"]) == ("Hochwasser", "hochwasser", 3)
    assert after["description"] == "Later."
    tracks = [each for each in shelf.tracks(shelf.ana).values() if "album" in each]
    assert [(each["album"], each["mood"]) for each in tracks] == [("Hochwasser", {"kept": True})] * 3
    assert await titles(shelf, "hochwasser") == ["T0", "T1", "T2"]
    assert await shelf.refused("GET", f"/albums/{shelf.ana}/low-water") == (404, "album not found")
    again = await shelf.told(
        "PATCH", f"/albums/{after['id']}", list_shapes.AlbumMetadata, shelf.ana, params={"description": ""}
    )
    assert again == after | {"description": None}
    await shelf.proven()


async def test_a_title_that_no_list_may_have_changes_no_track(shelf: Shelf) -> None:
    """Tracks may name an album in more letters than lists have."""
    await three(shelf)
    path = f"/albums/{await id_of(shelf)}"
    status, _ = await shelf.refused("PATCH", path, shelf.ana, params={"title": "x" * 65})
    assert status == 422
    assert {each["album"] for each in shelf.tracks(shelf.ana).values() if "album" in each} == {"Low Water"}
    assert shelf.lists(shelf.ana) == []


async def test_what_is_half_wrong_is_not_half_done(shelf: Shelf) -> None:
    body = {"title": "Dusk", "description": "x" * 5001}
    assert (await shelf.refused("POST", "/albums/", shelf.ana, json=body))[0] == 422
    assert shelf.lists(shelf.ana) == []
    made = await shelf.told(
        "POST", "/albums/", list_shapes.AlbumMetadata, shelf.ana, json=body | {"description": "Mild."}
    )
    params = {"title": " ", "description": "Wild."}
    assert (await shelf.refused("PATCH", f"/albums/{made['id']}", shelf.ana, params=params))[0] == 422
    assert (await shown(shelf, "dusk"))["metadata"]["description"] == "Mild."


async def test_a_title_that_another_album_has_is_refused(shelf: Shelf) -> None:
    await three(shelf)
    await shelf.publish(shelf.ana, R[4], "T4", album="Dusk")
    told = await shelf.refused("PATCH", f"/albums/{await id_of(shelf)}", shelf.ana, params={"title": "dusk"})
    assert told == (409, "another of your albums already uses that name")
    assert await titles(shelf) == ["T0", "T1", "T2"]


async def test_a_change_that_broke_off_goes_on_when_it_is_said_again(shelf: Shelf) -> None:
    """The PDS goes away after the list and the first of the tracks."""
    await three(shelf)
    path = f"/albums/{await id_of(shelf)}"
    calls = shelf.square.pds.asked

    async def away() -> None:
        while calls[PUT] < 2:
            await asyncio.sleep(0.001)
        shelf.square.pds.instead[PUT] = json_page({"error": "Away"}, 503)

    _, told = await asyncio.gather(
        away(), shelf.ask("PATCH", path, shelf.ana, params={"title": "Hochwasser"})
    )
    assert told.status == 502
    assert {each.get("album") for each in shelf.tracks(shelf.ana).values()} > {"Low Water"}
    shelf.square.pds.instead.clear()
    after = await shelf.told(
        "PATCH", path, list_shapes.AlbumMetadata, shelf.ana, params={"title": "Hochwasser"}
    )
    assert (after["slug"], after["track_count"]) == ("hochwasser", 3)
    listed = await shelf.told("GET", f"/albums/{shelf.ana}", list_shapes.AlbumsOfArtist)
    assert [each["title"] for each in listed["albums"]] == ["Hochwasser"]


async def test_a_track_is_taken_off_and_names_the_album_no_more(shelf: Shelf) -> None:
    one, two, _ = await three(shelf)
    id = await id_of(shelf)
    path = f"/albums/{id}/tracks"
    assert await shelf.told("DELETE", f"{path}/{two}", TrackTakenOff, shelf.ana) == {
        "removed": True, "track_id": two,
    }  # fmt: skip
    assert await titles(shelf) == ["T0", "T2"]
    body = {"track_ids": [one]}
    await shelf.told("POST", f"/albums/{id}/finalize", list_shapes.AlbumMetadata, shelf.ana, json=body)
    await shelf.told("DELETE", f"{path}/{one}", TrackTakenOff, shelf.ana)
    assert await titles(shelf) == ["T2"]
    assert len(shelf.lists(shelf.ana)[0]["items"]) == 1
    assert await shelf.refused("DELETE", f"{path}/{one}", shelf.ana) == (
        400, f"track(s) do not belong to this album: [{one}]",
    )  # fmt: skip
    await shelf.proven()


@pytest.mark.parametrize("cascade", [False, True])
async def test_a_deleted_album_is_gone_with_or_without_its_tracks(shelf: Shelf, cascade: bool) -> None:
    ids = await three(shelf)
    id = await id_of(shelf)
    await shelf.told(
        "POST", f"/albums/{id}/finalize", list_shapes.AlbumMetadata, shelf.ana, json={"track_ids": ids}
    )
    params = {"cascade": str(cascade).lower()}
    told = await shelf.told("DELETE", f"/albums/{id}", AlbumDeleted, shelf.ana, params=params)
    assert told == {"deleted": True, "cascade": cascade}
    assert shelf.lists(shelf.ana) == []
    assert await shelf.refused("GET", f"/albums/{shelf.ana}/low-water") == (404, "album not found")
    left = shelf.tracks(shelf.ana)
    assert len(left) == (1 if cascade else 4)
    assert not any("album" in each for each in left.values())
    await shelf.proven()


async def test_a_cover_is_drawn_anew_and_seen_as_long_as_the_album(shelf: Shelf) -> None:
    await three(shelf)
    id = await id_of(shelf)
    path = f"/albums/{id}/cover"
    first = await shelf.told("POST", path, list_shapes.Cover, shelf.ana, data=cover(picture("red")))
    assert first["image_url"] == f"https://plyr.test/image/{first['image_id']}"
    assert (await shown(shelf))["metadata"]["image_url"] == first["image_url"]

    async def status(told: dict[str, str]) -> int:
        return (await shelf.ask("GET", f"/image/{told['image_id']}?w=160")).status

    assert await status(first) == 200
    body = {"track_ids": [(await shown(shelf))["tracks"][0]["id"]]}
    await shelf.told("POST", f"/albums/{id}/finalize", list_shapes.AlbumMetadata, shelf.ana, json=body)
    assert (await shown(shelf))["metadata"]["image_url"] == first["image_url"]
    second = await shelf.told("POST", path, list_shapes.Cover, shelf.ana, data=cover(picture("blue")))
    assert (await shown(shelf))["metadata"]["image_url"] == second["image_url"]
    await asyncio.sleep(0.5)
    assert [await status(first), await status(second)] == [404, 200]
    await shelf.told("DELETE", f"/albums/{id}", AlbumDeleted, shelf.ana)
    await asyncio.sleep(0.5)
    assert await status(second) == 404
    assert await shelf.square.rows("select name from list_look") == []
    assert await shelf.square.rows("select 1 from blob_owner where kind = 'list'") == []


async def test_of_two_first_covers_at_once_one_is_kept(shelf: Shelf) -> None:
    await three(shelf)
    async with make_pool(shelf.square.dsn, max_size=2, name="test") as pool:
        blobs = [
            id
            for (id,) in await shelf.square.rows(
                "insert into blob (sha256, area, bytes, crc32, mime, state)"
                " select sha256(n::text::bytea), 'image', 1, 1, 'image/png', 'published'"
                " from generate_series(1, 2) n returning id"
            )
        ]
        first_is_in = asyncio.Event()

        async def first() -> None:
            async with pool.connection() as conn, conn.transaction():
                await list_look.cover(conn, shelf.ana, R[0], blobs[0])
                first_is_in.set()
                while not await shelf.square.rows("select 1 from pg_locks where not granted"):
                    await asyncio.sleep(0.01)

        async def second() -> None:
            await first_is_in.wait()
            async with pool.connection() as conn, conn.transaction():
                await list_look.cover(conn, shelf.ana, R[0], blobs[1])

        await asyncio.gather(first(), second())
    held = await shelf.square.rows("select blob_id from blob_owner where kind = 'list'")
    assert held == await shelf.square.rows("select cover_id from list_look") == [(blobs[1],)]


async def test_another_of_its_name_goes_without_the_first_ones_cover(shelf: Shelf) -> None:
    """The cover is from when there was no list; both lists are another app's."""
    await three(shelf)
    path = f"/albums/{await id_of(shelf)}/cover"
    url = (await shelf.told("POST", path, list_shapes.Cover, shelf.ana, data=cover(picture("red"))))[
        "image_url"
    ]
    for rkey, n in ((R[4], 0), (R[5], 1)):
        record = album("Low Water", [shelf.square.ana.uri(TRACK, R[n])])
        await shelf.square.echo(shelf.square.pds.write(shelf.ana, "create", LIST, rkey, record))
    second = await id_of(shelf, "low-water--2")
    await shelf.told("DELETE", f"/albums/{second}", AlbumDeleted, shelf.ana)
    assert (await shown(shelf))["metadata"]["image_url"] == url
    path = f"/albums/{await id_of(shelf)}"
    after = await shelf.told("PATCH", path, list_shapes.AlbumMetadata, shelf.ana, params={"title": "Ebb"})
    assert after["image_url"] == url


async def test_what_is_no_cover_is_refused(shelf: Shelf) -> None:
    await three(shelf)
    bob = await shelf.square.person("bob")
    path = f"/albums/{await id_of(shelf)}/cover"
    supported = "supported: .jpg, .jpeg, .png, .webp"

    async def sent(data: bytes, name: str, who: Any = shelf.ana) -> tuple[int, Any]:
        return await shelf.refused("POST", path, who, data=cover(data, name))

    assert await sent(picture("red", "GIF"), "a.gif") == (400, f"unsupported image type: .gif. {supported}")
    status, detail = await sent(b"no picture", "a.png")
    assert (status, detail.endswith(supported)) == (400, True)
    assert await sent(bytes(2 << 20), "a.png") == (413, "image too large (max 1MB)")
    assert await sent(picture("red"), "a.png", bob) == (
        403, "you can only upload cover art for your own albums",
    )  # fmt: skip
    assert (await sent(picture("red"), "a.png", None))[0] == 401
    made = aiohttp.FormData(default_to_multipart=True)
    made.add_field("title", "x")
    assert (await shelf.refused("POST", path, shelf.ana, data=made))[0] == 422


async def test_who_leaves_takes_their_covers_along(shelf: Shelf) -> None:
    await three(shelf)
    path = f"/albums/{await id_of(shelf)}/cover"
    await shelf.told("POST", path, list_shapes.Cover, shelf.ana, data=cover(picture("red")))
    async with make_pool(shelf.square.dsn, max_size=1, name="test") as pool, pool.connection() as conn:
        await list_look.erase(conn, shelf.ana)
    assert await shelf.square.rows("select name from list_look") == []
    assert await shelf.square.rows("select 1 from blob_owner where kind = 'list'") == []


async def test_albums_are_counted_whether_they_are_lists_or_titles(shelf: Shelf) -> None:
    ids = await three(shelf)
    await shelf.publish(shelf.ana, R[4], "T4", album="Dusk")
    await shelf.told("POST", "/albums/", list_shapes.AlbumMetadata, shelf.ana, json={"title": "Empty"})
    path, body = f"/albums/{await id_of(shelf)}/finalize", {"track_ids": ids}
    await shelf.told("POST", path, list_shapes.AlbumMetadata, shelf.ana, json=body)
    async with make_pool(shelf.square.dsn, max_size=1, name="test") as pool, pool.connection() as conn:
        counted = await deletions.counted(conn, shelf.ana)
    assert counted is not None
    assert counted.albums == 3


async def test_albums_from_before_there_were_ids_get_theirs(shelf: Shelf) -> None:
    record = album("Low Water", [shelf.square.ana.uri(TRACK, R[0])])
    await shelf.square.echo(shelf.square.pds.write(shelf.ana, "create", LIST, R[5], record))
    before = await shown(shelf)
    await shelf.square.rows("update list set album_id = null")
    assert await shelf.refused("GET", f"/albums/{shelf.ana}/low-water") == (404, "album not found")
    async with make_pool(shelf.square.dsn, max_size=2, name="test") as pool:
        done = await house.sweep_lists(pool)(None)  # type: ignore[arg-type]
    assert done.result == {"lists": 0, "named": 1}
    assert await shown(shelf) == before


async def test_the_cover_of_what_was_deleted_elsewhere_is_swept(shelf: Shelf) -> None:
    await three(shelf)
    # As long as the id of an album, and the key of a list that is gone.
    await shelf.square.rows("insert into list_look (did, name) values (%s, %s)", shelf.ana, "x" * 36)
    path = f"/albums/{await id_of(shelf)}/cover"
    await shelf.told("POST", path, list_shapes.Cover, shelf.ana, data=cover(picture("red")))
    async with make_pool(shelf.square.dsn, max_size=2, name="test") as pool:
        sweep = house.sweep_lists(pool)

        async def swept() -> int:
            return (await sweep(None)).result["lists"]  # type: ignore[arg-type]

        await shelf.square.rows("update list_look set created_at = now() - interval '1 day'")
        assert [await swept(), await swept()] == [1, 0]
        for rkey in R[:3]:
            await shelf.square.echo(shelf.square.pds.write(shelf.ana, "delete", TRACK, rkey, None))
        assert await swept() == 1
    assert await shelf.square.rows("select 1 from blob_owner where kind = 'list'") == []
