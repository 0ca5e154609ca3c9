"""Scans, from a track in sight to its verdict: AuDD is a server on a port, which fetches it from ours."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from appview.moderation.scanning import Came, Outcome, wait_s, want
from bin.cli import main
from bin.kinds import LANES, job_queue
from bin.moderation_scan import bar
from bin.scanning import off
from bin.settings import load
from bin.tasks import tasks
from bin.worker import places
from indexer.forgetting import forget
from lexicons.catalog import Catalog
from storage import scans
from storage.scans import ErrorKind, Resolution, ScanState, Source, Verdict
from tests.integration.appview.sounds import owner_of
from tests.integration.moderation.asked import MATCHED, TOKEN, error, success
from tests.integration.moderation.scanned import House, named


async def test_what_matches_is_flagged_and_kept_with_the_answer_and_waits_for_a_person(
    house: House, track: str
) -> None:
    house.audd.says(MATCHED)
    house.audd.fetches = True
    assert await house.scan(track) == Outcome(Came.FLAGGED)
    assert house.audd.fetched == [b"one"]  # from the address that it was given
    scan = await house.of(track, b"one")
    assert scan is not None
    assert (scan.state, scan.is_flagged, scan.resolution) == (ScanState.OK, True, Resolution.PENDING)
    assert [(match.title, match.offset_ms) for match in scan.matches] == [
        ("Blue Monday", 350), ("Blue Monday", 12_350), ("Elegia", 24_350),
    ]  # fmt: skip
    assert scan.dominant == scan.matches[0]
    assert scan.dominant_share == pytest.approx(2 / 3)
    assert scan.raw == MATCHED.decode()
    assert scan.blob_id is not None
    assert scan.scanned_at is not None


async def test_whoever_has_a_person_look_is_given_track_bytes_and_verdict_in_the_transaction(
    house: House, track: str
) -> None:
    house.audd.says(MATCHED)
    house.refuses = RuntimeError("no case could be opened")
    with pytest.raises(RuntimeError):
        await house.scan(track)
    assert await house.of(track, b"one") is None  # neither is there
    house.refuses = None
    await house.scan(track)
    scan, given = await house.of(track, b"one"), house.flagged[-1]
    assert scan is not None
    assert (given.scan_id, (given.target.did, given.target.rkey)) == (scan.id, named(track))
    assert given.target.sha256 == hashlib.sha256(b"one").hexdigest()
    assert (given.verdict.matches, given.verdict.dominant) == (scan.matches, scan.dominant)
    await house.scan(track)
    assert len(house.flagged) == 2


async def test_what_matches_nothing_is_clear_and_nobody_is_told(house: House, track: str) -> None:
    assert await house.scan(track) == Outcome(Came.CLEAR)
    scan = await house.of(track, b"one")
    assert scan is not None
    assert (scan.state, scan.is_flagged, scan.resolution, scan.dominant) == (ScanState.OK, False, None, None)
    assert house.flagged == []


async def test_a_verdict_comes_once_and_what_a_person_made_of_it_stays(house: House, track: str) -> None:
    house.audd.says(MATCHED)

    async def another_is_first() -> None:
        house.audd.meanwhile = None
        await house.scan(track)
        await house.rows(
            "update copyright_scan"
            " set resolution = 'false_positive', reviewed_by = 'operator', reviewed_at = now()"
        )
        house.audd.says(success(None))

    house.audd.meanwhile = another_is_first
    assert (await house.scan(track)).came is Came.KNOWN
    assert (await house.scan(track)).came is Came.KNOWN
    assert len(house.audd.heard) == 2  # the third time nobody is asked
    scan = await house.of(track, b"one")
    assert scan is not None
    assert (scan.is_flagged, scan.resolution) == (True, Resolution.FALSE_POSITIVE)
    assert len(house.flagged) == 1


async def test_an_error_is_no_verdict_is_due_again_later_each_time_and_ends_with_one(
    house: House, track: str
) -> None:
    house.audd.says(b"oops", 503)
    waits = list[float]()
    for attempts in (1, 2, 3):
        outcome = await house.scan(track)
        assert (outcome.came, outcome.kind) == (Came.ERROR, ErrorKind.AWAY)
        scan = await house.of(track, b"one")
        assert scan is not None
        assert (scan.state, scan.is_flagged, scan.scanned_at) == (ScanState.ERROR, False, None)
        assert (scan.attempts, scan.error, scan.raw) == (attempts, "AuDD answers with status 503", "oops")
        ((left_s,),) = await house.rows("select extract(epoch from due - updated_at) from copyright_scan")
        waits.append(float(left_s))
    assert waits == [60, 120, 240]
    assert (await house.sweep()).result == {"begun": 0}  # it is not due yet
    await house.rows("update copyright_scan set due = now()")
    house.audd.says(MATCHED)
    assert (await house.sweep()).result == {"begun": 1}
    (job,) = await house.work()
    assert job.result == {"came": "flagged"}
    scan = await house.of(track, b"one")
    assert scan is not None
    assert (scan.state, scan.error, scan.error_kind, scan.due, scan.attempts) == (
        ScanState.OK,
        None,
        None,
        None,
        0,
    )


@pytest.mark.parametrize(
    ("body", "status", "kind", "least_s"),
    [
        (error(902, "the limit was reached"), 200, ErrorKind.QUOTA, 3600),
        (error(900, "wrong token"), 200, ErrorKind.TOKEN, 3600),
        (error(600, "cannot fetch it"), 200, ErrorKind.SOUND, 3600),
        (b"<html>", 200, ErrorKind.ANSWER, 3600),
        (b"", 500, ErrorKind.AWAY, 60),
    ],
)
async def test_every_kind_of_error_is_kept_as_what_it_is(
    house: House, track: str, body: bytes, status: int, kind: ErrorKind, least_s: float
) -> None:
    house.audd.says(body, status)
    await house.scan(track)
    scan = await house.of(track, b"one")
    assert scan is not None
    assert (scan.state, scan.error_kind) == (ScanState.ERROR, kind)
    assert TOKEN not in f"{scan.error}{scan.raw}"
    ((left_s,),) = await house.rows("select extract(epoch from due - updated_at) from copyright_scan")
    assert left_s == least_s


def test_the_wait_has_an_end_and_one_that_is_asked_for_is_kept_to() -> None:
    assert wait_s(ErrorKind.AWAY, 99) == 86_400
    assert wait_s(ErrorKind.SOUND, 99) == 7 * 86_400
    assert wait_s(ErrorKind.QUOTA, 0, 7200) == 7200
    assert wait_s(ErrorKind.QUOTA, 3, 60) == 8 * 3600
    assert wait_s(ErrorKind.QUOTA, 0, 1e9) == 7 * 86_400


async def test_after_a_refusal_the_sweep_begins_nothing_until_it_is_over(house: House, track: str) -> None:
    two = house.seed.track(house.seed.account("bob"), "two")
    await house.play(two, b"two")
    house.audd.says(error(902, "the limit was reached"))
    await house.scan(track)
    swept = await house.sweep()
    assert swept.result == {"begun": 0}
    assert "AuDD answers no more" in (swept.message or "")
    house.audd.says(success(None))
    await house.scan(two)  # as after an upload: somebody asked, and was answered
    assert await house.of(two, b"two") is not None
    three = house.seed.track(house.seed.account("eve"), "three")
    await house.play(three, b"three")
    assert (await house.sweep()).result == {"begun": 1}


async def test_other_bytes_are_scanned_anew_and_the_old_verdict_stays_theirs(
    house: House, track: str
) -> None:
    house.audd.says(MATCHED)
    await house.scan(track)
    await house.play(track, b"other")
    house.audd.says(success(None))
    assert (await house.sweep()).result == {"begun": 1}
    await house.work()
    before, now = await house.of(track, b"one"), await house.of(track, b"other")
    assert before is not None
    assert now is not None
    assert (before.is_flagged, now.is_flagged) == (True, False)


async def test_bytes_that_change_while_they_are_scanned_do_not_get_the_verdict_of_others(
    house: House, track: str
) -> None:
    async def replaced() -> None:
        await house.play(track, b"other")

    house.audd.says(MATCHED)
    house.audd.meanwhile = replaced
    await house.scan(track)
    assert await house.of(track, b"other") is None
    scan = await house.of(track, b"one")
    assert scan is not None
    assert scan.is_flagged


async def test_the_same_bytes_of_somebody_else_are_not_asked_about_twice(house: House, track: str) -> None:
    copy = house.seed.track(house.seed.account("bob"), "mine")
    await house.play(copy, b"one")
    house.audd.says(MATCHED)
    await house.scan(track)
    assert await house.scan(copy) == Outcome(Came.FLAGGED)
    assert len(house.audd.heard) == 1
    first, second = await house.of(track, b"one"), await house.of(copy, b"one")
    assert first is not None
    assert second is not None
    assert (second.matches, second.dominant, second.raw) == (first.matches, first.dominant, first.raw)
    assert [(each.target.did, each.target.rkey) for each in house.flagged] == [named(track), named(copy)]


async def test_without_a_token_nothing_is_asked_and_it_is_caught_up_with_once_there_is_one(
    house: House, track: str
) -> None:
    async with house.pool.connection() as conn, conn.transaction():
        await want(conn, job_queue(), *named(track))
    (job,) = await house.work(off=True)
    assert (job.message, job.result) == ("no token", {"came": "off"})
    scan = await house.of(track, b"one")
    assert scan is not None
    assert (scan.state, scan.is_flagged) == (ScanState.OFF, False)
    swept = await house.sweep(off=True)
    assert (swept.message, swept.result) == ("0 scans begun; no token", {"begun": 0})
    assert house.audd.heard == []
    assert (await house.sweep()).result == {"begun": 1}
    await house.work()
    scan = await house.of(track, b"one")
    assert scan is not None
    assert scan.state is ScanState.OK


async def test_what_is_out_of_sight_or_gone_is_not_scanned(house: House) -> None:
    hidden = house.seed.track(house.seed.account("ann", hidden=True), "one")
    await house.play(hidden, b"one")
    assert (await house.scan(hidden)).came is Came.GONE
    assert (await house.scan(f"at://{named(hidden)[0]}/fm.plyr.track/3jzfcijpj2z2a")).came is Came.GONE
    assert (await house.sweep()).result == {"begun": 0}
    assert house.audd.heard == []


async def test_a_scan_that_is_wanted_twice_is_one_job_and_gone_when_its_transaction_is(
    house: House, track: str
) -> None:
    async with house.pool.connection() as conn:
        async with conn.transaction(force_rollback=True):
            await want(conn, job_queue(), *named(track))
        assert await house.work() == []
        for _ in range(2):
            await want(conn, job_queue(), *named(track))
    assert (await house.sweep()).result == {"begun": 0}
    assert len(await house.work()) == 1


async def test_who_leaves_leaves_no_scan_and_gets_none_afterwards(house: House, track: str) -> None:
    did, _ = named(track)

    async def forgotten() -> None:
        async with house.pool.connection() as conn, conn.transaction():
            await forget(conn, did, came_back=False)

    await house.scan(track)
    assert await house.of(track, b"one") is not None
    await house.play(track, b"other")
    for body, status in ((MATCHED, 200), (b"", 500)):
        house.audd.says(body, status)
        house.audd.meanwhile = forgotten
        heard = len(house.audd.heard)
        await house.scan(track)
        assert (len(house.audd.heard), await house.of(track, b"one")) == (heard + 1, None)
        assert await house.of(track, b"other") is None
        assert house.flagged == []
        house.audd.meanwhile = None
        track = house.seed.track(house.seed.account("ann"), "again")
        did, _ = named(track)
        await house.play(track, b"other")


async def test_a_verdict_outlives_its_blob(house: House, track: str) -> None:
    house.audd.says(MATCHED)
    await house.scan(track)
    await house.rows("delete from blob_owner")
    await house.rows("delete from track_media")
    await house.rows("delete from blob")
    scan = await house.of(track, b"one")
    assert scan is not None
    assert (scan.blob_id, scan.is_flagged) == (None, True)


async def test_every_move_between_states_is_one_of_the_table(house: House, track: str) -> None:
    """Each state is tried after each other; only the legal moves change it."""
    async with house.pool.connection() as conn:
        target = await scans.playing(conn, *named(track))
        assert target is not None

        async def to(state: ScanState) -> None:
            match state:
                case ScanState.OK:
                    await scans.settle(conn, target, Verdict((), None, None, None, (Source.PLYR,)))
                case ScanState.ERROR:
                    await scans.fail(conn, target, ErrorKind.AWAY, "away", wait_s=60)
                case ScanState.OFF:
                    await scans.leave(conn, target)

        for before in ScanState:
            for after in ScanState:
                await conn.execute("delete from copyright_scan")
                await to(before)
                await to(after)
                scan = await scans.get(conn, target.did, target.rkey, target.sha256)
                assert scan is not None
                assert scan.state is (after if after in scans.MOVES[before] else before)


def told(
    house: House, capsys: pytest.CaptureFixture[str], *words: str, token: bool = True
) -> tuple[int, str, str]:
    settings = ["--database-url", house.dsn, "--dev-loopback", "--audd-url", house.audd.url]
    settings += ["--audd-token", TOKEN, "--public-url", house.url] if token else []
    code = main(["moderation", "scan", *words, *settings])
    said = capsys.readouterr()
    return code, said.out, said.err


async def test_the_command_opens_a_case_about_what_it_flags(
    house: House, track: str, capsys: pytest.CaptureFixture[str]
) -> None:
    house.audd.says(MATCHED)
    await asyncio.to_thread(told, house, capsys, "--unscanned")
    cases = "select subject, opened_by, state, reason from moderation_case"
    assert await house.rows(cases) == [(track, "scan", "open", "copyright")]
    events = "select action, actor, detail->>'match', (detail->>'scan_id')::bigint from moderation_event"
    ((scan,),) = await house.rows("select id from copyright_scan")
    assert await house.rows(events) == [("open", "plyr", "Blue Monday by New Order", scan)]


async def test_the_command_scans_what_is_unscanned_and_sums_up(
    house: House, track: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bob = house.seed.account("bob")
    for title, length_s in (("two", 60), ("three", 60), ("long", 7200)):
        await house.play(house.seed.track(bob, title), title.encode(), length_s=length_s)

    async def run(*words: str, **options: bool) -> tuple[int, str, str]:
        return await asyncio.to_thread(told, house, capsys, "--unscanned", *words, **options)

    code, out, _ = await run("--dry-run", "--max-duration", "3")
    assert code == 0
    assert out.splitlines()[0] == f"{owner_of(track)}  3 min 0 s"
    assert "3 would be scanned, 5 min 0 s of sound. Nothing was.\n" in out
    assert house.audd.heard == []

    house.audd.says(MATCHED)
    code, out, _ = await run("--limit", "1")
    assert (code, out.splitlines()[-1]) == (0, "1 scanned: 1 flagged.")
    assert f"{owner_of(track)}  flagged\n" in out

    house.audd.says(b"", 500)
    code, out, _ = await run("--max-duration", "3", "--env", "prod")
    assert code == 1
    assert "2 scanned: 2 error.\nNo verdict: 2 away. They are tried again.\n" in out

    house.audd.says(error(902, "the limit was reached"))
    code, out, _ = await run()  # those, too, whose next attempt is later
    assert code == 1
    assert "1 scanned: 1 error.\n" in out
    assert "2 were left alone: AuDD answers no more, or does not take our token.\n" in out

    house.audd.says(success(None))
    assert (await run())[:2] == (0, "3 scanned: 3 clear.\n")
    assert (await run())[:2] == (0, "0 scanned.\n")


async def test_the_command_stops_where_it_is_not_meant_and_leaves_what_nobody_can_be_asked_about(
    house: House, track: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = await asyncio.to_thread(told, house, capsys, "--unscanned", "--env", "staging")
    assert (code, err) == (2, "plyr: staging is namespace fm.plyr.stg, and the settings say fm.plyr\n")
    code, out, err = await asyncio.to_thread(told, house, capsys, "--unscanned", token=False)
    assert (code, out) == (0, "0 scanned.\n")
    assert err == "plyr: our own scanner alone is asked, and not AuDD: PLYR_AUDD_TOKEN is not set\n"
    assert await house.of(track, b"one") is None


def test_the_bar_is_empty_at_first_and_full_at_the_end() -> None:
    assert bar(0, 7) == f"[{'.' * 30}] 0 of 7"
    assert bar(7, 7) == f"[{'#' * 30}] 7 of 7"


def test_audd_is_not_asked_without_a_token_or_where_nobody_could_reach_us() -> None:
    token = {"audd_token": TOKEN}
    assert off(load({}, {})) == "PLYR_AUDD_TOKEN is not set"
    assert off(load(token, {})) == "PLYR_PUBLIC_URL is not set, and AuDD could not fetch a sound"
    assert off(load(token | {"public_url": "https://plyr.example"}, {})) is None
    assert off(load(token | {"dev_loopback": True}, {})) is None
    assert TOKEN not in repr(load(token, {}))


async def test_the_worker_has_somebody_for_every_kind_of_job(house: House, tmp_path: Path) -> None:
    settings = load({"database_url": house.dsn, "data_dir": tmp_path / "data"}, {})
    async with tasks(settings, Catalog.load(), house.pool) as doers:
        assert {task.kind: task.lane for task in doers} == LANES
    assert {task.lane for task in doers} == places(settings).keys()
