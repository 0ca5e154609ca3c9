"""Our own scanner as a part of a scan: somebody else's same recording is a match, with AuDD or without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from appview.jobs.house import index_sounds
from appview.moderation.copies import joined
from appview.moderation.fingerprint import Variant, matches
from appview.moderation.scanning import Came, Outcome
from indexer.forgetting import forget
from storage.migrate import MIGRATIONS
from storage.scans import Match, Scan, ScanState, Source, Verdict
from tests.integration.moderation import asked
from tests.integration.moderation.asked import error, groups, success
from tests.integration.moderation.scanned import House, housed, named
from tests.songs import RATE, encoded, fingerprint, fingerprints_of, song

WHOLE = song(1, 40)
COPY = fingerprint(np.concatenate([song(2, 8), WHOLE[10 * RATE : 32 * RATE]]))
OTHER = fingerprint(song(3, 30))
MATCHED = groups(("00:00", [asked.song()]))


@pytest.fixture
async def house(database: str, tmp_path: Path) -> AsyncIterator[House]:
    """Ann's recording is here and found."""
    async with housed(database, tmp_path) as house:
        await house.play(
            house.seed.track(house.seed.account("ann", display_name="Ann"), "Hers"),
            b"hers",
            heard=fingerprint(WHOLE),
        )
        await index_sounds(house.pool)(None)  # type: ignore[arg-type]
        yield house


@pytest.fixture
async def copy(house: House) -> str:
    """Ben's, of which 22 s are hers."""
    uri = house.seed.track(house.seed.account("ben"), "Mine")
    await house.play(uri, b"copy", heard=COPY)
    return uri


@pytest.fixture
async def other(house: House) -> str:
    """Eve's own."""
    uri = house.seed.track(house.seed.account("eve"), "Another")
    await house.play(uri, b"other", heard=OTHER)
    return uri


async def anew(house: House) -> None:
    (migration,) = MIGRATIONS.glob("*_scans_anew.sql")
    async with house.pool.connection() as conn:
        await conn.execute(migration.read_bytes())


async def known(house: House, uri: str, data: bytes) -> Scan:
    scan = await house.of(uri, data)
    assert scan is not None
    return scan


async def test_without_audd_the_recording_of_somebody_else_is_flagged_with_how_sure_that_is(
    house: House, copy: str
) -> None:
    assert await house.scan(copy, off=True) == Outcome(Came.FLAGGED)
    scan = await known(house, copy, b"copy")
    (match,) = scan.matches
    assert (match.source, match.artist, match.title) == (Source.PLYR, "Ann", "Hers")
    ((did, rkey),) = await house.rows("select did, rkey from track_media where did <> %s", named(copy)[0])
    assert (match.did, match.rkey) == (did, rkey)
    assert match.confidence == pytest.approx(1, abs=0.01)
    assert match.offset_ms == pytest.approx(8000, abs=2500)
    assert match.length_ms == pytest.approx(22_000, abs=3000)
    assert match.timecode in {"00:08", "00:09", "00:10", "00:11", "00:12"}
    assert (scan.state, scan.asked, scan.raw, scan.resolution) == (
        ScanState.OK,
        (Source.PLYR,),
        None,
        "pending",
    )
    assert (scan.dominant, scan.dominant_share) == (match, 1.0)
    assert [each.target.did for each in house.flagged] == [named(copy)[0]]


@pytest.mark.parametrize("speed", [0.98, 1.02])
async def test_what_was_played_faster_or_slower_is_found_by_decoding_it_at_other_speeds(
    house: House, speed: float
) -> None:
    whole = song(9, 40)
    hers = house.seed.track(house.seed.account("una"), "Of another pitch")
    await house.play(hers, b"of another pitch", heard=fingerprint(whole))
    await index_sounds(house.pool)(None)  # type: ignore[arg-type]
    file = encoded(whole, "-af", f"asetrate={round(RATE * speed)},aresample={RATE}", "-f", "wav")
    (heard,) = fingerprints_of([file])
    uri = house.seed.track(house.seed.account("ben"), "Mine, sped")
    await house.play(uri, file, heard=heard)
    async with house.pool.connection() as conn:
        assert await matches(conn, [Variant(heard)], besides=named(uri)[0]) == []
    assert (await house.scan(uri, off=True)).came is Came.FLAGGED
    (match,) = (await known(house, uri, file)).matches
    assert (match.source, match.title) == (Source.PLYR, "Of another pitch")
    assert match.length_ms == pytest.approx(40_000 / speed, abs=4000)


async def test_without_audd_what_nobody_else_has_is_clear_and_audd_is_asked_once_it_can_be(
    house: House, other: str
) -> None:
    assert (await house.scan(other, off=True)).came is Came.CLEAR
    assert (await known(house, other, b"other")).asked == (Source.PLYR,)
    assert (await house.scan(other, off=True)).came is Came.KNOWN
    house.audd.says(MATCHED)
    assert (await house.sweep()).result == {"begun": 2}  # hers, too, was never scanned
    await house.work()
    scan = await known(house, other, b"other")
    assert (scan.is_flagged, scan.asked) == (True, (Source.PLYR, Source.AUDD))
    assert [match.source for match in scan.matches] == [Source.AUDD]
    assert (await house.sweep()).result == {"begun": 0}
    assert len(house.audd.heard) == 2


async def test_without_audd_the_sweep_has_only_those_scanned_that_have_a_fingerprint(
    house: House, copy: str
) -> None:
    silent = house.seed.track(house.seed.account("eve"), "Not analysed")
    await house.play(silent, b"silent")
    swept = await house.sweep(off=True)
    assert (swept.message, swept.result) == ("2 scans begun; no token", {"begun": 2})
    assert sorted(job.result["came"] for job in await house.work(off=True) if job.result) == [
        "clear",  # hers was there before the copy, which is not in the index yet
        "flagged",
    ]
    assert await house.of(silent, b"silent") is None
    assert (await house.scan(silent, off=True)).came is Came.OFF
    assert (await known(house, silent, b"silent")).state is ScanState.OFF


async def test_a_fingerprint_that_comes_later_is_compared_without_asking_audd_again(
    house: House, copy: str
) -> None:
    await house.rows("update sound set fingerprint = null where fingerprint = %s", COPY)
    assert (await house.scan(copy)).came is Came.CLEAR
    await house.rows("update sound set fingerprint = %s where fingerprint is null", COPY)
    assert (await house.scan(copy)).came is Came.FLAGGED
    scan = await known(house, copy, b"copy")
    assert (scan.asked, scan.raw) == ((Source.AUDD, Source.PLYR), success(None).decode())
    assert len(house.audd.heard) == 1


async def test_what_was_clear_before_other_speeds_were_asked_for_is_scanned_anew_and_audd_not_paid_twice(
    house: House, copy: str, other: str
) -> None:
    """As by the scanner of before: it said that all is clear, in both ways in which it may have."""
    assert (await house.scan(other, off=True)).came is Came.CLEAR
    await house.rows("update sound set fingerprint = null where fingerprint = %s", COPY)
    assert (await house.scan(copy)).came is Came.CLEAR
    await house.rows("update sound set fingerprint = %s where fingerprint is null", COPY)
    await house.rows("update copyright_scan set asked = '{audd,plyr}' where did = %s", named(copy)[0])
    assert (await house.sweep(off=True)).result == {"begun": 1}  # hers
    await house.work(off=True)
    assert (await house.sweep(off=True)).result == {"begun": 0}
    await anew(house)
    assert (await house.sweep(off=True)).result == {"begun": 3}
    await house.work(off=True)
    assert (await known(house, other, b"other")).state is ScanState.OK
    scan = await known(house, copy, b"copy")
    assert (scan.is_flagged, scan.asked, scan.raw) == (
        True,
        (Source.AUDD, Source.PLYR),
        success(None).decode(),
    )
    assert len(house.audd.heard) == 1
    await anew(house)
    assert await known(house, copy, b"copy") == scan


async def test_both_say_what_they_find_and_audd_what_is_dominant(house: House, copy: str) -> None:
    house.audd.says(MATCHED)
    await house.scan(copy)
    scan = await known(house, copy, b"copy")
    assert [match.source for match in scan.matches] == [Source.AUDD, Source.PLYR]
    assert (scan.dominant, scan.dominant_share) == (scan.matches[0], 1.0)
    assert scan.raw == MATCHED.decode()


async def test_the_same_bytes_of_a_third_are_compared_anew_and_audd_is_not_paid_twice(
    house: House, copy: str
) -> None:
    house.audd.says(MATCHED)
    third = house.seed.track(house.seed.account("eve"), "The very same")
    await house.play(third, b"hers", heard=fingerprint(WHOLE))
    await house.scan(copy)
    ((did, rkey),) = await house.rows("select did, rkey from track_media order by created_at limit 1")
    hers = f"at://{did}/fm.plyr.track/{rkey}"
    await house.scan(hers)
    heard = len(house.audd.heard)
    await house.scan(third)
    assert len(house.audd.heard) == heard
    named_by = {match.did for match in (await known(house, third, b"hers")).matches if match.did}
    assert named_by == {did}
    named_by = {match.did for match in (await known(house, hers, b"hers")).matches if match.did}
    assert named_by == {named(third)[0]}


async def test_an_error_of_audd_does_not_hold_up_what_we_find_and_is_tried_again_where_we_find_nothing(
    house: House, copy: str, other: str
) -> None:
    assert (await house.scan(other, off=True)).came is Came.CLEAR
    house.audd.says(error(902, "the limit was reached"))
    assert (await house.scan(copy)).came is Came.FLAGGED
    scan = await known(house, copy, b"copy")
    assert (scan.state, scan.asked, scan.error) == (ScanState.OK, (Source.PLYR,), None)
    assert (await house.scan(other)).came is Came.ERROR
    scan = await known(house, other, b"other")
    assert (scan.state, scan.asked, scan.attempts, scan.scanned_at) == (ScanState.ERROR, (), 1, None)
    assert (await house.sweep()).result == {"begun": 0}  # AuDD answers no more
    house.audd.says(success(None))
    assert (await house.scan(other)).came is Came.CLEAR
    assert (await known(house, other, b"other")).asked == (Source.AUDD, Source.PLYR)


async def test_who_is_forgotten_is_named_by_no_verdict_about_others(house: House, copy: str) -> None:
    await house.scan(copy)
    ((did,),) = await house.rows("select did from track_media where did <> %s", named(copy)[0])
    async with house.pool.connection() as conn, conn.transaction():
        await forget(conn, did, came_back=False)
    assert (
        await house.rows("select 1 from copyright_scan where copyright_scan::text like %s", f"%{did}%") == []
    )
    assert await house.rows("select 1 from copyright_scan where copyright_scan::text like '%%Hers%%'") == []
    scan = await known(house, copy, b"copy")
    (match,) = scan.matches
    assert (match.did, match.rkey, match.artist, match.title) == (None, None, "", "")
    assert (match.source, scan.dominant, scan.is_flagged) == (Source.PLYR, match, True)


def test_the_first_that_matched_says_what_is_dominant() -> None:
    ours = Match("Ann", "Hers", source=Source.PLYR)
    clear = Verdict((), None, None, "raw")
    found = Verdict((ours,), ours, 0.5, None, (Source.PLYR,))
    assert joined([clear, found]) == Verdict((ours,), ours, 0.5, "raw", (Source.AUDD, Source.PLYR))
    assert joined([clear]) == clear
