"""What must be true of a house in which nobody is at work: nothing without an owner, nothing missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage.blobs import collector, rows
from storage.blobs.store import Area
from tests.devnet.network import Account
from tests.integration.media.studio import Studio

_NONE = timedelta(0)


async def in_order(here: Studio, *people: Account) -> None:
    """What was left for later is done, the collector takes all that is due, then PDS, index, rows and objects
    are compared."""
    await here.work_later()
    async with here.pool.connection() as conn:
        taken = await collector.collect(conn, here.store, grace=_NONE, keep=_NONE, now=datetime.now(UTC))
        assert taken.failed is None
        assert await rows.miscounted(conn) == []
        known = {str(blob.key) for area in Area for blob in await rows.page(conn, area, after="", limit=1000)}
    assert {str(each.key) for area in Area for each in [x async for x in here.store.list(area)]} == known
    assert await here.one("select count(*) from blob where owners = 0") == 0
    assert [each async for each in here.store.list_staged()] == []
    assert await here.one("select count(*) from staged_upload") == 0
    assert await here.one("select count(*) from job where finished_at is null") == 0
    assert await here.one("select count(*) from blob_owner where kind = 'job'") == 0
    assert await here.one("select count(*) from track_media where published_at is null") == 0
    missing = (
        "select count(*) from track_media m where original_id is not null and not exists"
        " (select from sound_rendition n where n.blob_id = m.stream_id and n.format = 'opus')"
    )
    assert await here.one(missing) == 0
    for person in people:
        listed = await here.net.list_records(person, "fm.plyr.track")
        kept = await here.one(
            "select array_agg(rkey order by rkey) from track_media where did = %s", person.did
        )
        assert sorted(each.uri.rpartition("/")[2] for each in listed) == (kept or [])
        for each in listed:
            assert len(await here.bytes_of(each.value)) > 0
