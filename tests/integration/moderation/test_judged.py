"""What REST says of a track that was scanned, judged or labelled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from appview.app import make_reader
from appview.moderation.scanning import Came, Outcome
from appview.rest import present
from appview.sound_origins import ANYWHERE, SoundOrigins
from lexicons.catalog import Catalog
from storage import feed, scans
from storage.scans import Resolution
from tests.integration.appview.labelling import labelling
from tests.integration.appview.seed import Seed
from tests.integration.moderation.asked import MATCHED, error, success
from tests.integration.moderation.scanned import House

CLEAR = (False, None)
MATCH = (True, "Blue Monday by New Order")


async def copyright_of(house: House, uri: str, viewer: str | None = None) -> tuple[Any, Any]:
    async with make_reader(house.dsn, connections=1) as reads:
        rows = await feed.REST.by_uris(reads, viewer, [uri])
        shown = orjson.loads(present.listed(rows, SoundOrigins([ANYWHERE])))
    return shown["copyright_flagged"], shown["copyright_match"]


async def review(house: House, resolution: Resolution) -> None:
    async with house.pool.connection() as conn:
        [(id,)] = await (await conn.execute("select id from copyright_scan")).fetchall()
        await scans.review(conn, [id], resolution, by="operator", notes=None)


async def test_what_was_never_scanned_is_neither_flagged_nor_clear(house: House, track: str) -> None:
    assert await copyright_of(house, track) == (None, None)
    await house.scan(track, off=True)
    assert await copyright_of(house, track) == (None, None)


async def test_what_is_clear_or_has_no_verdict_by_an_error_is_clear(house: House, track: str) -> None:
    house.audd.says(error(902, "limit"))
    assert (await house.scan(track)).came is Came.ERROR
    assert await copyright_of(house, track) == CLEAR
    house.audd.says(success([]))
    assert await house.scan(track) == Outcome(Came.CLEAR)
    assert await copyright_of(house, track) == CLEAR


async def test_a_match_is_the_artists_alone_until_a_person_says_that_it_is_a_violation(
    house: House, track: str
) -> None:
    ann = track.split("/")[2]
    house.audd.says(MATCHED)
    await house.scan(track)
    assert await copyright_of(house, track) == CLEAR
    assert await copyright_of(house, track, "did:plc:bob") == CLEAR
    assert await copyright_of(house, track, ann) == MATCH
    await review(house, Resolution.VIOLATION)
    assert await copyright_of(house, track) == MATCH
    for resolution in (Resolution.FALSE_POSITIVE, Resolution.ORIGINAL_ARTIST):
        await review(house, resolution)
        assert await copyright_of(house, track) == CLEAR
        assert await copyright_of(house, track, ann) == CLEAR


async def test_a_verdict_is_of_the_sound_that_was_scanned(house: House, track: str) -> None:
    house.audd.says(MATCHED)
    await house.scan(track)
    await review(house, Resolution.VIOLATION)
    await house.play(track, b"another")
    assert await copyright_of(house, track) == (None, None)


async def test_labels_that_we_and_the_artist_gave_are_told_apart(database: str, tmp_path: Path) -> None:
    catalog = Catalog.load()
    seed = Seed(database, catalog)
    labels = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "loud"}]}
    ann = seed.account("ann")
    quiet, loud = seed.track(ann, "quiet"), seed.track(ann, "loud", labels=labels, album="Noise")
    seed.commit()
    async with labelling(database, catalog, tmp_path / "keys") as bench:

        async def told(uri: str) -> tuple[list[str], list[str], list[str]]:
            answer = await bench.server.request("GET", "/tracks/by-uri", params={"uri": uri})
            assert answer.status == 200, answer.body
            shown = answer.json
            return shown["self_labels"], shown["operator_labels"], shown["labels"]

        assert await told(quiet) == ([], [], [])
        assert await told(loud) == (["loud"], [], ["loud"])
        for uri in (quiet, loud):
            await bench.emit(uri, "spam")
            await bench.emit(uri, "loud")
            await bench.emit(uri, "old", exp=datetime.now(UTC) - timedelta(seconds=1))
            await bench.emit(uri, "other", cid="bafyreigmz2yfqu7l67sk7rpsztnzctdmwuffwnbx6yxvhmgv4pu3wslbci")
        assert await told(quiet) == ([], ["loud", "spam"], ["loud", "spam"])
        assert await told(loud) == (["loud"], ["loud", "spam"], ["loud", "spam"])
        await bench.emit(quiet, "spam", neg=True)
        assert await told(quiet) == ([], ["loud"], ["loud"])
    seed.close()
