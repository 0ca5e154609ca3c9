"""Cases about pictures: seen by moderators, taken down, or left in sight and covered."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from appview.moderation.cases import open_case
from lexicons.datamodel import raw_cid
from lexicons.subject import read_subject
from storage.blobs.store import Area
from storage.moderation import OpenedBy, Proof
from tests.acceptance.service import until
from tests.devnet.records import tid
from tests.fakenet.world import Author
from tests.integration.appview.sounds import keep, owner_of
from tests.integration.moderation.court import MOLLY, Court, sha256

PICTURE = b"a picture"
IMAGE_ID = sha256(PICTURE)
PATH = f"/image/{IMAGE_ID}"
LIST = "/moderation/sensitive-images"


@pytest.fixture
async def ann(court: Court) -> Author:
    """With a track that has a cover of ours."""
    ann = Author("ann")
    uri = await court.publish(ann, tid(1), "Blue Tuesday", b"blue", imageUrl=f"https://plyr.test{PATH}")
    await court.named(ann, "ann.test")
    cover = await keep(
        court.dsn, court.store, PICTURE, area=Area.IMAGE, mime="image/png", owner=owner_of(uri)
    )
    await court.rows("update track_media set cover_id = %s", cover.id)
    return ann


async def opened(court: Court, did: str, sha256: str = IMAGE_ID, reason: str = "sexual") -> int:
    async with court.pool.connection() as conn:
        return await open_case(
            conn,
            read_subject(f"{did}/{sha256}"),
            OpenedBy.REPORT,
            actor=MOLLY,
            proof=Proof.SERVICE,
            reason=reason,
        )


async def answers(court: Court, path: str, status: int) -> None:
    async def so() -> bool:
        return (await court.ask("GET", path)).status == status

    await until(so, 5, f"{path} to be {status}")


async def test_a_picture_is_seen_by_moderators_alone_while_it_is_down_and_comes_back(
    court: Court, ann: Author
) -> None:
    key, case = await court.key(), await opened(court, ann.did)
    alone = f"/moderation/cases/{case}/picture"
    page = await court.ask("GET", f"/moderation/cases/{case}", key)
    assert f'<img src="{alone}"'.encode() in page.body
    assert b"<h1><bdi>The picture of Blue Tuesday</bdi></h1>" in page.body
    assert b"The picture of Blue Tuesday" in (await court.ask("GET", "/moderation", key)).body
    assert b"<audio" not in page.body
    assert (await court.ask("GET", PATH)).status == 200
    assert (await court.decide(key, case, "takedown", reason="sexual")).status == 303
    (track,) = (await court.ask("GET", "/tracks/")).json["tracks"]
    assert (track["image_url"], track["title"]) == (None, "Blue Tuesday")
    await answers(court, PATH, 410)
    shown = await court.ask("GET", f"/track/{track['id']}")
    assert shown.status == 200
    assert IMAGE_ID.encode() not in shown.body

    seen = await court.ask("GET", alone, key)
    assert (seen.status, seen.body) == (200, PICTURE)
    assert seen.headers["Cache-Control"] == "private, no-store"
    assert (await court.ask("GET", alone, await court.key(ann.did))).status == 404
    assert (await court.ask("GET", f"/moderation/cases/{case}/sound", key)).status == 404
    assert b"taken down" in (await court.ask("GET", f"/moderation/cases/{case}", key)).body

    assert (await court.decide(key, case, "restore_no_action")).status == 303
    (track,) = (await court.ask("GET", "/tracks/")).json["tracks"]
    assert track["image_url"] == f"https://plyr.test{PATH}"
    await answers(court, PATH, 200)


async def test_a_sound_by_itself_is_heard_on_its_case(court: Court, ann: Author) -> None:
    key, case = await court.key(), await opened(court, ann.did, sha256(b"blue"), "copyright")
    assert b"<audio" in (await court.ask("GET", f"/moderation/cases/{case}", key)).body
    assert (await court.decide(key, case, "takedown")).status == 303
    await answers(court, f"/audio/{sha256(b'blue')}", 410)
    assert (await court.ask("GET", f"/moderation/cases/{case}/sound", key)).body == b"blue"
    assert (await court.ask("GET", f"/moderation/cases/{case}/picture", key)).status == 404


async def test_a_sensitive_picture_is_on_the_list_and_covered_on_our_pages_until_it_is_cleared(
    court: Court, ann: Author
) -> None:
    assert (await court.ask("GET", LIST)).json == {"image_ids": [], "urls": []}
    key, case = await court.key(), await opened(court, ann.did)
    (track,) = (await court.ask("GET", "/tracks/")).json["tracks"]
    pages = [f"/track/{track['id']}", f"/embed/track/{track['id']}"]

    async def covered() -> list[bool]:
        bodies = [(await court.ask("GET", page)).body for page in pages]
        assert all(IMAGE_ID.encode() in body for body in bodies)
        return [b'<details class="covered">' in body for body in bodies]

    async def thumbnail() -> str | None:
        url = quote(f"{court.url}/track/{track['id']}", safe="")
        return (await court.ask("GET", f"/oembed?url={url}")).json["thumbnail_url"]

    assert await covered() == [False, False]
    assert await thumbnail() == f"https://plyr.test{PATH}"
    assert (await court.decide(key, case, "violation", reason="sexual")).status == 303
    assert (await court.ask("GET", LIST)).json == {
        "image_ids": [IMAGE_ID],
        "urls": [f"{court.url}{PATH}"],
    }
    assert await covered() == [True, True]
    assert await thumbnail() is None
    assert (await court.ask("GET", PATH)).status == 200
    assert (await court.decide(key, case, "restore_false_positive")).status == 303
    assert (await court.ask("GET", LIST)).json == {"image_ids": [], "urls": []}
    assert await covered() == [False, False]


async def test_a_sensitive_picture_of_a_bluesky_profile_is_told_by_its_address(
    court: Court, ann: Author
) -> None:
    avatar = "2b" * 32
    key, case = await court.key(), await opened(court, ann.did, avatar)
    await court.decide(key, case, "violation", reason="sexual")
    url = f"https://cdn.bsky.app/img/avatar/plain/{ann.did}/{raw_cid(avatar)}@jpeg"
    assert (await court.ask("GET", LIST)).json == {"image_ids": [], "urls": [url]}
