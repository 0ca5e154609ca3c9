"""Notices of claimants: decided in time, answered, and what comes back, when, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appview.jobs.attempt import Attempts
from appview.jobs.tasks import Task
from appview.moderation import notices
from appview.moderation.actions import NOTICE_MOVES, Action, IllegalMove
from appview.moderation.deadlines import restore_what_is_due
from appview.moderation.notices import Claim, business_days_after, restore_due
from bin.checkup.cases import cases
from bin.kinds import job_queue
from lexicons.subject import read_subject
from storage import forgotten, jobs
from storage import moderation as rows
from storage.moderation import NoticeState, Proof, Resolution
from storage.postgres import make_pool
from tests.integration.moderation.judging import LABEL, MOD, RKEYS, Bench

NOW = datetime(2026, 3, 6, 12, tzinfo=UTC)  # a Friday


@pytest.fixture
async def song(bench: Bench) -> str:
    (uri,) = await bench.publish(RKEYS[0])
    return uri


async def claim(bench: Bench, uri: str, now: datetime = NOW) -> int:
    said = Claim(read_subject(uri), "Rights Ltd, rights@example.com", "This is ours")
    return await notices.receive(bench.conn, said, bench.policy, actor=MOD, proof=Proof.SESSION, now=now)


async def counter(bench: Bench, uri: str, now: datetime = NOW) -> datetime:
    subject, did = read_subject(uri), bench.ann.did
    return await notices.counter(
        bench.conn, subject, "No, mine", bench.policy, actor=did, proof=Proof.SESSION, now=now
    )


async def sue(bench: Bench, uri: str) -> Any:
    return await notices.sue(bench.conn, read_subject(uri), "No. 17", actor=MOD, proof=Proof.SESSION)


async def states(bench: Bench, uri: str) -> list[tuple[str, datetime | None]]:
    return [(each.state, each.due) for each in await rows.notices(bench.conn, uri)]


@pytest.mark.parametrize(("days", "until"), [(0, 6), (1, 9), (3, 11), (5, 13), (6, 16), (10, 20), (14, 26)])
def test_business_days_are_monday_to_friday(days: int, until: int) -> None:
    assert business_days_after(NOW, days) == NOW.replace(day=until)


def test_a_weekend_is_no_business_day_to_begin_with() -> None:
    saturday, monday = NOW + timedelta(days=1), NOW + timedelta(days=3)
    assert business_days_after(saturday, 1) == monday


async def test_a_notice_opens_a_case_and_takes_nothing_down(bench: Bench, song: str) -> None:
    await claim(bench, song)
    case = await bench.case(song)
    assert (case.opened_by, case.state, case.reason) == ("notice", "open", "copyright")
    assert await bench.is_shown(song)
    assert await states(bench, song) == [("received", datetime(2026, 3, 11, 12, tzinfo=UTC))]
    assert await bench.history(song) == ["open", "notice"]
    told = [event.detail for event in await rows.history(bench.conn, song)]
    assert "rights@example.com" not in str(told)  # it could never be removed from there
    (finding,) = await cases(bench.conn)
    assert "1 notices are decided late" in finding.text


async def test_a_counter_notice_brings_it_back_after_ten_business_days_and_not_before(
    bench: Bench, song: str
) -> None:
    await claim(bench, song)
    with pytest.raises(IllegalMove, match="no notice is upheld: those about it are received"):
        await counter(bench, song)
    await bench.decide(Action.TAKEDOWN, song)
    assert await states(bench, song) == [("upheld", None)]
    due = await counter(bench, song)
    assert due == datetime(2026, 3, 20, 12, tzinfo=UTC)
    assert await states(bench, song) == [("countered", due)]
    assert await restore_due(bench.conn, bench.policy, due - timedelta(seconds=1)) == 0
    assert not await bench.is_shown(song)
    assert await restore_due(bench.conn, bench.policy, due) == 1
    assert await bench.is_shown(song)
    assert await bench.labels(song) == []
    assert await states(bench, song) == [("restored", None)]
    event = (await rows.history(bench.conn, song))[0]
    assert (event.action, event.actor, event.proof, event.reason) == (
        "restore", "plyr", "self", "counter_notice",
    )  # fmt: skip
    assert await rows.strikes(bench.conn, bench.ann.did) == 0
    assert await restore_due(bench.conn, bench.policy, due) == 0


async def test_who_goes_to_court_keeps_it_down_until_a_person_restores_it(bench: Bench, song: str) -> None:
    await claim(bench, song)
    await bench.decide(Action.TAKEDOWN, song)
    with pytest.raises(IllegalMove, match="no notice is countered"):
        await sue(bench, song)
    due = await counter(bench, song)
    await sue(bench, song)
    assert await restore_due(bench.conn, bench.policy, due) == 0
    assert not await bench.is_shown(song)
    await bench.decide(Action.RESTORE, song, resolution=Resolution.ORIGINAL_ARTIST)
    assert await states(bench, song) == [("restored", None)]
    assert await bench.history(song) == ["open", "notice", "takedown", "counter_notice", "suit", "restore"]


async def test_another_notice_that_nobody_answered_keeps_it_down(bench: Bench, song: str) -> None:
    await claim(bench, song)
    await bench.decide(Action.TAKEDOWN, song)
    due = await counter(bench, song)
    await claim(bench, song)
    assert await restore_due(bench.conn, bench.policy, due) == 0
    await bench.decide(Action.RESOLVE, song, resolution=Resolution.NO_ACTION)
    assert [state for state, _ in await states(bench, song)] == ["countered", "rejected"]
    assert await restore_due(bench.conn, bench.policy, due) == 1
    assert await bench.is_shown(song)


async def test_a_notice_that_is_no_violation_is_rejected_and_cannot_be_answered(
    bench: Bench, song: str
) -> None:
    await claim(bench, song)
    await bench.decide(Action.RESOLVE, song, resolution=Resolution.ORIGINAL_ARTIST)
    assert await states(bench, song) == [("rejected", None)]
    with pytest.raises(IllegalMove):
        await counter(bench, song)
    assert await bench.history(song) == ["open", "notice", "resolve"]


async def test_what_an_author_answered_goes_with_their_account_and_the_notice_stays(
    bench: Bench, song: str
) -> None:
    await claim(bench, song)
    await bench.decide(Action.TAKEDOWN, song)
    await counter(bench, song)
    await forgotten.erase_story(bench.conn, bench.ann.did)
    (notice,) = await rows.notices(bench.conn, song)
    assert (notice.answer, notice.state, notice.statement) == ("", "countered", "This is ours")


async def test_one_that_cannot_be_restored_any_more_keeps_none_of_the_others_down(bench: Bench) -> None:
    one, two = await bench.publish(*RKEYS[:2])
    for uri in (one, two):
        await claim(bench, uri)
        await bench.decide(Action.TAKEDOWN, uri)
    due = await counter(bench, one)
    await counter(bench, two)
    # As if there had been no labels, and the record was forgotten.
    await bench.rows("delete from label where uri = %s", one)
    await bench.rows("update moderation_case set resolution = 'no_action' where subject = %s", one)
    await bench.rows("update record set taken_down = null where rkey = %s", RKEYS[0])
    assert await restore_due(bench.conn, bench.policy, due) == 2
    assert await bench.is_shown(two)
    assert [state for state, _ in await states(bench, one)] == ["restored"]
    event = (await rows.history(bench.conn, one))[0]
    assert event.note is not None
    assert event.note.startswith("nothing stands against it")


async def test_the_job_restores_what_is_due(bench: Bench, song: str) -> None:
    now = datetime.now(UTC)
    await claim(bench, song, now)
    await bench.decide(Action.TAKEDOWN, song)
    await counter(bench, song, now - timedelta(days=30))
    assert await bench.labels(song) == [LABEL]
    async with make_pool(bench.dsn, max_size=2, name="test") as pool:
        attempts = Attempts(pool, [Task("moderation.sweep", restore_what_is_due(pool, bench.policy))])
        id = await job_queue().enqueue(bench.conn, "moderation.sweep", subject="moderation.sweep")
        assert id is not None
        await attempts.make(id)
    job = await jobs.get(bench.conn, id)
    assert job is not None
    assert job.result == {"restored": 1}
    assert await bench.is_shown(song)
    assert await bench.labels(song) == []


async def test_notices_move_as_the_table_says_and_in_no_other_way(bench: Bench, song: str) -> None:
    subject = read_subject(song)
    for state in NoticeState:
        for to, allowed in NOTICE_MOVES.items():
            if to is NoticeState.COUNTERED:
                continue
            id = await claim(bench, song)
            await bench.rows("update moderation_notice set state = 'rejected', due = null where id <> %s", id)
            due = NOW if state in (NoticeState.RECEIVED, NoticeState.COUNTERED) else None
            await bench.rows(
                "update moderation_notice set state = %s, due = %s where id = %s", state, due, id
            )
            await rows.move_notices(bench.conn, subject, sorted(allowed), to)
            (after,) = [each.state for each in await rows.notices(bench.conn, song) if each.id == id]
            assert after == (to if state in allowed else state)


async def test_who_claims_a_picture_has_it_taken_down_by_itself_and_it_comes_back_in_time(
    bench: Bench,
) -> None:
    cover = "1a" * 32
    song = await bench.show(RKEYS[0], imageUrl=f"https://plyr.test/image/{cover}")
    blob = read_subject(f"{bench.ann.did}/{cover}").text
    await claim(bench, blob)
    await bench.decide(Action.TAKEDOWN, blob)
    assert await bench.rows("select withheld from repo") == [({cover: "copyright"},)]
    due = await counter(bench, blob, NOW)
    assert await restore_due(bench.conn, bench.policy, due) == 1
    assert await bench.rows("select withheld from repo") == [(None,)]
    assert [state for state, _ in await states(bench, blob)] == [NoticeState.RESTORED]
    assert await bench.is_shown(song)
