"""A decision, its effect and its label are one transaction; the log only grows; of two at once one wins."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from appview.auth.keyring import CannotOpen, GivenKeys, KeyRing, new_key
from appview.moderation.actions import (
    Action,
    CaseState,
    IllegalMove,
    NotKnown,
    Outdated,
    Refused,
    Standing,
    move,
)
from appview.moderation.decisions import Decision, Policy, decide
from appview.moderation.labels import Labels
from lexicons.subject import read_subject
from lexicons.syntax import Did, Rkey
from storage import forgotten, sensitive_images
from storage import moderation as rows
from storage.moderation import Proof, Resolution
from storage.scans import Match, Source
from tests.integration.moderation.judging import (
    ANOTHER,
    CATALOG,
    LABEL,
    MATCH,
    MOD,
    RKEYS,
    SRC,
    Bench,
)

NOT_VIOLATIONS = [each for each in Resolution if each is not Resolution.VIOLATION]


@pytest.fixture
async def song(bench: Bench) -> str:
    (uri,) = await bench.publish(RKEYS[0])
    return uri


async def test_a_flagged_scan_opens_one_case_that_a_person_resolves_with_a_label(
    bench: Bench, song: str
) -> None:
    scan = await bench.flag(song)
    case = await bench.case(song)
    assert (case.opened_by, case.state, case.reason) == ("scan", "open", "copyright")
    (event,) = await rows.events(bench.conn, case.id)
    assert event.detail["scan_id"] == scan
    assert event.detail["match"] == f"{MATCH.title} by {MATCH.artist}"
    assert await bench.labels(song) == []  # a scan says nothing to anybody
    event = await bench.decide(Action.RESOLVE, song, resolution=Resolution.VIOLATION, note="I know it")
    assert (event.actor, event.proof, event.reason) == (MOD, "session", "copyright")
    case = await bench.case(song)
    assert (case.state, case.resolution, case.resolved_by) == ("resolved", "violation", MOD)
    assert await bench.labels(song) == [LABEL]
    assert await bench.is_shown(song)
    reviewed = "select resolution, reviewed_by, review_notes, reviewed_at is not null from copyright_scan"
    assert await bench.rows(reviewed) == [("violation", MOD, "I know it", True)]


async def test_of_a_track_that_is_here_the_log_has_its_uri_and_no_name(bench: Bench) -> None:
    one, two = await bench.publish(*RKEYS[:2])
    named = Match("Somebody", "Secret", source=Source.PLYR, did=bench.ann.did, rkey=Rkey(RKEYS[1]))
    await bench.flag(one, match=named)
    (event,) = await rows.history(bench.conn, one)
    assert event.detail["match"] == two
    assert "Secret" not in str(event)


@pytest.mark.parametrize("resolution", NOT_VIOLATIONS)
async def test_what_is_no_violation_has_no_label_and_the_scan_says_so(
    bench: Bench, song: str, resolution: Resolution
) -> None:
    await bench.flag(song)
    await bench.decide(Action.RESOLVE, song, resolution=resolution)
    assert (await bench.case(song)).resolution == resolution
    assert await bench.labels(song) == []
    assert await bench.rows("select count(*) from label") == [(0,)]
    assert await bench.rows("select resolution, reviewed_by from copyright_scan") == [(resolution, MOD)]


async def test_other_bytes_that_are_flagged_too_are_of_the_same_case_and_judged_with_it(
    bench: Bench, song: str
) -> None:
    await bench.flag(song)
    await bench.flag(song, "cd" * 32)
    assert await bench.rows("select count(*) from moderation_case") == [(1,)]
    await bench.decide(Action.RESOLVE, song, resolution=Resolution.FALSE_POSITIVE)
    assert await bench.rows("select distinct resolution from copyright_scan") == [("false_positive",)]
    await bench.flag(song, "ef" * 32)  # after that it is another matter
    assert await bench.rows("select state from moderation_case order by id") == [("resolved",), ("open",)]
    pending = "select count(*) from copyright_scan where resolution = 'pending'"
    assert await bench.rows(pending) == [(1,)]


async def test_a_takedown_and_its_restore_move_case_effect_label_and_scan_together(
    bench: Bench, song: str
) -> None:
    await bench.flag(song)
    event = await bench.decide(Action.TAKEDOWN, song)
    assert (event.reason, event.detail) == (
        "copyright",
        {"resolution": "violation", "label": LABEL, "strikes": 1},
    )
    assert not await bench.is_shown(song)
    assert await bench.labels(song) == [LABEL]
    assert (await bench.case(song)).resolution == "violation"
    event = await bench.decide(Action.RESTORE, song, resolution=Resolution.ORIGINAL_ARTIST)
    assert event.detail == {"resolution": "original_artist", "unlabel": LABEL}
    assert await bench.is_shown(song)
    assert await bench.labels(song) == []
    assert (await bench.case(song)).resolution == "original_artist"
    assert await bench.rows("select resolution from copyright_scan") == [("original_artist",)]
    assert await bench.rows("select val, neg from label order by seq") == [(LABEL, False), (LABEL, True)]
    assert await bench.history(song) == ["open", "takedown", "restore"]


async def test_a_label_that_holds_is_not_said_again_and_a_takedown_for_something_else_says_none(
    bench: Bench,
) -> None:
    one, two = await bench.publish(*RKEYS[:2])
    await bench.open(one)
    await bench.decide(Action.RESOLVE, one, resolution=Resolution.VIOLATION)
    await bench.decide(Action.TAKEDOWN, one)
    assert await bench.rows("select count(*) from label") == [(1,)]
    await bench.decide(Action.TAKEDOWN, two, reason="spam")
    assert await bench.rows("select count(*) from label") == [(1,)]
    assert await bench.rows("select taken_down from record where taken_down is not null order by 1") == [
        ("copyright",), ("spam",),
    ]  # fmt: skip
    assert await rows.strikes(bench.conn, bench.ann.did) == 1
    await bench.decide(Action.RESTORE, two, resolution=Resolution.NO_ACTION)
    assert await bench.rows("select count(*) from label") == [(1,)]


async def test_another_violation_is_another_case_and_a_second_look_at_the_same_is_not(
    bench: Bench, song: str
) -> None:
    await bench.flag(song)
    await bench.decide(Action.RESOLVE, song, resolution=Resolution.FALSE_POSITIVE)
    await bench.decide(Action.TAKEDOWN, song)
    assert await bench.rows("select id, resolution from moderation_case") == [(1, "violation")]
    assert await bench.rows("select resolution from copyright_scan") == [("violation",)]
    await bench.decide(Action.RESTORE, song, resolution=Resolution.NO_ACTION)
    await bench.open(song)
    await bench.decide(Action.RESOLVE, song, resolution=Resolution.VIOLATION)
    await bench.decide(Action.TAKEDOWN, song, reason="spam")
    assert await bench.rows("select id, resolution, reason from moderation_case order by id") == [
        (1, "no_action", "copyright"), (2, "violation", "copyright"), (3, "violation", "spam"),
    ]  # fmt: skip
    assert await rows.strikes(bench.conn, bench.ann.did) == 1


async def test_an_account_is_taken_down_and_restored(bench: Bench, song: str) -> None:
    did = bench.ann.did
    await bench.decide(Action.TAKEDOWN, did, reason="spam")
    assert await bench.rows("select taken_down, hidden from repo r join profile p on p.repo_id = r.id") == [
        ("spam", True)
    ]
    await bench.decide(Action.RESTORE, did, resolution=Resolution.NO_ACTION)
    assert await bench.rows("select taken_down, hidden from repo r join profile p on p.repo_id = r.id") == [
        (None, False)
    ]


async def test_an_appeal_opens_the_same_case_again_and_ends_either_way(bench: Bench, song: str) -> None:
    await bench.decide(Action.TAKEDOWN, song)
    first = await bench.case(song)
    for end in (Resolution.VIOLATION, Resolution.FALSE_POSITIVE):
        await bench.decide(Action.APPEAL, song, bench.ann.did, note="It is mine")
        case = await bench.case(song)
        assert (case.id, case.state, case.resolution) == (first.id, "open", None)
        assert not await bench.is_shown(song)  # until somebody decides
        with pytest.raises(IllegalMove, match="it is down: restore it"):
            await bench.decide(Action.RESOLVE, song, resolution=Resolution.FALSE_POSITIVE)
        action = Action.RESOLVE if end is Resolution.VIOLATION else Action.RESTORE
        await bench.decide(action, song, resolution=end)
        assert (await bench.case(song)).resolution == end
    assert await bench.is_shown(song)
    assert await bench.rows("select val, neg from label order by seq") == [(LABEL, False), (LABEL, True)]


async def test_labels_by_hand_are_said_and_taken_back_but_never_that_of_a_violation(
    bench: Bench, song: str
) -> None:
    exp = datetime.now(UTC) + timedelta(hours=1)
    await bench.decide(Action.LABEL, song, val="sexual", exp=exp)
    assert await bench.labels(song) == ["sexual"]
    with pytest.raises(IllegalMove, match="holds already"):
        await bench.decide(Action.LABEL, song, val="sexual")
    await bench.decide(Action.UNLABEL, song, val="sexual")
    assert await bench.labels(song) == []
    with pytest.raises(IllegalMove, match="does not hold"):
        await bench.decide(Action.UNLABEL, song, val="sexual")
    for action in (Action.LABEL, Action.UNLABEL):
        with pytest.raises(IllegalMove, match="follows a resolution"):
            await bench.decide(action, song, val=LABEL)
    with pytest.raises(IllegalMove, match="1 to 128 bytes"):
        await bench.decide(Action.LABEL, song, val="x" * 129)
    assert await bench.history(song) == ["label", "unlabel"]


async def test_what_is_not_known_cannot_be_taken_down(bench: Bench, song: str) -> None:
    with pytest.raises(NotKnown):
        await bench.decide(Action.TAKEDOWN, song + "x")
    with pytest.raises(NotKnown):
        await bench.decide(Action.TAKEDOWN, "did:plc:nobody")
    blob = f"{bench.ann.did}/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    with pytest.raises(NotKnown):
        await bench.decide(Action.TAKEDOWN, blob)


async def test_bytes_are_taken_down_and_restored_and_nobody_is_told_by_a_label(bench: Bench) -> None:
    cover = "1a" * 32
    song = await bench.show(RKEYS[0], imageUrl=f"https://plyr.test/image/{cover}")
    blob = f"{bench.ann.did}/{cover}"
    await bench.open(blob)
    await bench.decide(Action.TAKEDOWN, blob, reason="sexual")
    assert await bench.rows("select withheld from repo") == [({cover: "sexual"},)]
    assert await bench.is_shown(song)
    with pytest.raises(IllegalMove, match="it is down already"):
        await bench.decide(Action.TAKEDOWN, blob)
    named = read_subject(blob).text
    case = await bench.case(named)
    assert (case.state, case.resolution, case.reason) == ("resolved", "violation", "sexual")
    with pytest.raises(IllegalMove, match="have no labels"):
        await bench.decide(Action.LABEL, blob, val="sexual")
    await bench.decide(Action.RESTORE, blob, resolution=Resolution.NO_ACTION)
    assert await bench.rows("select withheld from repo") == [(None,)]
    assert await bench.history(named) == ["open", "takedown", "restore"]
    assert await bench.rows("select count(*) from label") == [(0,)]


async def test_a_picture_that_stays_in_sight_as_a_violation_is_sensitive_by_its_reason(bench: Bench) -> None:
    cover = "1a" * 32
    await bench.show(RKEYS[0], imageUrl=f"https://plyr.test/image/{cover}")
    blob = f"{bench.ann.did}/{cover}"

    async def marked() -> list[str]:
        return [reason for (reason,) in await bench.rows("select reason from sensitive_image")]

    await bench.open(blob, reason="porn")
    await bench.decide(Action.RESOLVE, blob, resolution=Resolution.VIOLATION)
    assert await marked() == ["porn"]
    await bench.decide(Action.TAKEDOWN, blob)
    assert await marked() == []
    await bench.decide(Action.APPEAL, blob)
    await bench.decide(Action.RESOLVE, blob, resolution=Resolution.VIOLATION)
    assert await marked() == []  # it is down
    await bench.decide(Action.RESTORE, blob, resolution=Resolution.FALSE_POSITIVE)
    assert await marked() == []
    await bench.open(blob, reason="nudity")
    await bench.decide(Action.RESOLVE, blob, resolution=Resolution.VIOLATION)
    assert await marked() == ["nudity"]
    await bench.decide(Action.APPEAL, blob)
    await bench.decide(Action.RESOLVE, blob, resolution=Resolution.VIOLATION, reason="copyright")
    assert await marked() == []


async def test_which_pictures_of_an_account_are_sensitive_goes_with_it(bench: Bench) -> None:
    cover = "1a" * 32
    await bench.show(RKEYS[0], imageUrl=f"https://plyr.test/image/{cover}")
    await bench.open(f"{bench.ann.did}/{cover}", reason="porn")
    await bench.decide(Action.RESOLVE, f"{bench.ann.did}/{cover}", resolution=Resolution.VIOLATION)
    other = Did("did:plc:zzzzzzzzzzzzzzzzzzzzzzzz")
    await sensitive_images.mark(bench.conn, other, cover, "porn")
    await forgotten.erase_story(bench.conn, bench.ann.did)
    assert await bench.rows("select did from sensitive_image") == [(other,)]


async def test_every_move_that_is_not_in_the_table_is_refused_and_leaves_nothing(bench: Bench) -> None:
    """Each decision from each state of case and subject; what is allowed is what the tables say."""

    async def to(uri: str, case: CaseState, standing: Standing) -> None:
        if standing is Standing.DOWN:
            await bench.decide(Action.TAKEDOWN, uri)
        elif standing is Standing.JUDGED:
            await bench.open(uri)
            await bench.decide(Action.RESOLVE, uri, resolution=Resolution.VIOLATION)
        elif case is CaseState.RESOLVED:
            await bench.open(uri)
            await bench.decide(Action.RESOLVE, uri, resolution=Resolution.NO_ACTION)
        if case is CaseState.OPEN:
            await bench.open(uri)

    tried = [
        (Action.NOTE, None), (Action.TAKEDOWN, None), (Action.APPEAL, None), (Action.RESTORE, None),
        *((action, each) for action in (Action.RESOLVE, Action.RESTORE) for each in Resolution),
    ]  # fmt: skip
    places = [
        (case, standing) for case in CaseState for standing in Standing
        if case is not CaseState.NONE or standing is Standing.CLEAR
    ]  # fmt: skip
    outcomes = {True: 0, False: 0}
    for number, (case, standing) in enumerate(places):
        for other, (action, resolution) in enumerate(tried):
            (uri,) = await bench.publish(f"3mpt2222{number}x{other:02}y".translate(_TID))
            await to(uri, case, standing)
            before = await state(bench, uri)
            try:
                expected = move(action, resolution, case, standing)
            except IllegalMove:
                with pytest.raises(IllegalMove):
                    await bench.decide(action, uri, resolution=resolution)
                assert await state(bench, uri) == before
                outcomes[False] += 1
            else:
                await bench.decide(action, uri, resolution=resolution)
                latest = await rows.latest(bench.conn, uri)
                assert (latest.state if latest else "none") == expected
                outcomes[True] += 1
    assert min(outcomes.values()) > 10


_TID = str.maketrans("0123456789", "234567abcd")


async def state(bench: Bench, uri: str) -> list[Any]:
    return [
        await bench.rows("select * from moderation_case where subject = %s order by id", uri),
        await bench.rows("select * from moderation_event where subject = %s order by id", uri),
        await bench.rows("select seq from label where uri = %s", uri),
        await bench.rows("select resolution from copyright_scan"),
        await bench.is_shown(uri),
    ]


@pytest.mark.parametrize("action", [Action.TAKEDOWN, Action.RESOLVE, Action.RESTORE, Action.LABEL])
async def test_where_the_label_cannot_be_signed_nothing_is_decided(
    bench: Bench, song: str, action: Action
) -> None:
    await bench.flag(song)
    if action is Action.RESTORE:
        await bench.decide(Action.TAKEDOWN, song)
    before = await state(bench, song)
    strange = Labels(KeyRing(GivenKeys([new_key()])), SRC)  # it opens no key that is there
    resolution = {Action.RESOLVE: Resolution.VIOLATION, Action.RESTORE: Resolution.FALSE_POSITIVE}.get(action)
    decision = Decision(action, read_subject(song), MOD, Proof.SESSION, resolution=resolution, val="sexual")
    with pytest.raises(CannotOpen):
        await decide(bench.conn, decision, Policy(CATALOG, strange))
    assert await state(bench, song) == before


async def test_without_a_labeler_effects_follow_and_nobody_is_told(bench: Bench, song: str) -> None:
    bench.policy = Policy(CATALOG, None)
    await bench.flag(song)
    await bench.decide(Action.RESOLVE, song, resolution=Resolution.VIOLATION)
    await bench.decide(Action.TAKEDOWN, song)
    assert not await bench.is_shown(song)
    await bench.decide(Action.RESTORE, song, resolution=Resolution.FALSE_POSITIVE)
    assert await bench.is_shown(song)
    assert await bench.rows("select count(*) from label") == [(0,)]
    with pytest.raises(IllegalMove, match="no labeler"):
        await bench.decide(Action.LABEL, song, val="sexual")


@pytest.mark.parametrize(
    "statement",
    ["update moderation_event set note = 'x'", "delete from moderation_event", "truncate moderation_event"],
)
async def test_the_log_is_only_added_to(bench: Bench, song: str, statement: Any) -> None:
    await bench.decide(Action.NOTE, song, note="mine")
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        await bench.rows(statement)
    assert [event.note for event in await rows.history(bench.conn, song)] == ["mine"]


@pytest.mark.parametrize("another", [Action.RESOLVE, Action.TAKEDOWN])
async def test_of_two_who_decide_at_once_one_wins_and_the_other_is_told_who(
    bench: Bench, song: str, another: Action
) -> None:
    """The first has decided and not committed while the second begins."""
    await bench.flag(song)
    resolution = Resolution.FALSE_POSITIVE if another is Action.RESOLVE else None
    later = Decision(another, read_subject(song), ANOTHER, Proof.SESSION, resolution=resolution)
    async with await psycopg.AsyncConnection.connect(bench.dsn, autocommit=True) as conn:
        async with bench.conn.transaction():
            await bench.decide(Action.TAKEDOWN, song)
            second = asyncio.create_task(decide(conn, later, bench.policy))
            await waits(bench, "Lock")
            assert not second.done()
        with pytest.raises(IllegalMove) as caught:
            await second
    assert f"case 1: violation, by {MOD} at " in str(caught.value)
    assert await bench.history(song) == ["open", "takedown"]
    assert await bench.labels(song) == [LABEL]


async def waits(bench: Bench, what: str) -> None:
    """Until somebody else waits in this database."""
    query = (
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = %s"
    )
    async with asyncio.timeout(30), await psycopg.AsyncConnection.connect(bench.dsn, autocommit=True) as conn:
        while (await (await conn.execute(query, [what])).fetchone()) == (0,):
            await asyncio.sleep(0.01)


async def test_of_many_who_decide_at_once_exactly_one_does(bench: Bench, song: str) -> None:
    await bench.flag(song)

    async def one(number: int) -> str | None:
        resolution = list(Resolution)[number % 4]
        decision = Decision(
            Action.RESOLVE, read_subject(song), f"did:plc:m{number}", Proof.SESSION, resolution=resolution
        )
        async with await psycopg.AsyncConnection.connect(bench.dsn, autocommit=True) as conn:
            try:
                await decide(conn, decision, bench.policy)
            except Refused:
                return None
            return decision.actor

    winners = [actor for actor in await asyncio.gather(*map(one, range(8))) if actor]
    assert winners == [(await bench.case(song)).resolved_by]
    assert await bench.history(song) == ["open", "resolve"]


async def test_whoever_decides_on_what_has_changed_since_is_refused(bench: Bench, song: str) -> None:
    await bench.flag(song)
    (seen,) = await rows.history(bench.conn, song)
    await bench.decide(Action.NOTE, song, ANOTHER, note="hm")
    await bench.decide(Action.RESOLVE, song, ANOTHER, resolution=Resolution.FALSE_POSITIVE, seen=seen.id)
    with pytest.raises(Outdated, match=rf"{ANOTHER} decided resolve \(false_positive\) at .*: look again"):
        await bench.decide(Action.TAKEDOWN, song, seen=seen.id)
    assert await bench.is_shown(song)
    newest = (await rows.history(bench.conn, song))[0]
    await bench.decide(Action.TAKEDOWN, song, seen=newest.id)


async def test_so_many_violations_of_an_account_are_a_case_about_the_account(bench: Bench) -> None:
    did, uris = bench.ann.did, await bench.publish(*RKEYS[:4])
    for number, uri in enumerate(uris[:3], 1):
        assert await rows.latest(bench.conn, did) is None
        assert (await bench.decide(Action.TAKEDOWN, uri)).detail["strikes"] == number
    case = await bench.case(did)
    assert (case.opened_by, case.reason, case.state) == ("strikes", "repeat_infringer", "open")
    assert await bench.rows("select taken_down from repo") == [(None,)]  # a person decides
    await bench.decide(Action.RESTORE, uris[0], resolution=Resolution.FALSE_POSITIVE)
    assert await rows.strikes(bench.conn, did) == 2  # what is taken back does not count
    await bench.decide(Action.RESOLVE, did, resolution=Resolution.NO_ACTION)
    await bench.decide(Action.TAKEDOWN, uris[3])
    assert (await bench.case(did)).state == "open"
    await bench.decide(Action.TAKEDOWN, did)
    assert await bench.rows("select taken_down from repo") == [("repeat_infringer",)]
    assert await bench.labels(did) == []


async def test_violations_at_once_are_all_counted(bench: Bench) -> None:
    uris = await bench.publish(*RKEYS[:3])

    async def one(uri: str) -> int:
        decision = Decision(Action.TAKEDOWN, read_subject(uri), MOD, Proof.SESSION)
        async with await psycopg.AsyncConnection.connect(bench.dsn, autocommit=True) as conn:
            return (await decide(conn, decision, bench.policy)).detail["strikes"]

    assert sorted(await asyncio.gather(*map(one, uris))) == [1, 2, 3]
    assert (await bench.case(bench.ann.did)).opened_by == "strikes"


async def test_a_restore_ends_every_case_that_ended_against_it(bench: Bench, song: str) -> None:
    await bench.decide(Action.TAKEDOWN, song)
    await bench.open(song, "spam")  # about what is down already
    await bench.decide(Action.RESOLVE, song, resolution=Resolution.NO_ACTION)
    assert await rows.strikes(bench.conn, bench.ann.did) == 1
    await bench.decide(Action.RESTORE, song, resolution=Resolution.FALSE_POSITIVE)
    assert await rows.strikes(bench.conn, bench.ann.did) == 0
    assert await bench.rows("select resolution from moderation_case order by id") == [
        ("false_positive",),
        ("no_action",),
    ]
    with pytest.raises(IllegalMove, match="nothing stands against it"):
        await bench.decide(Action.RESTORE, song, resolution=Resolution.FALSE_POSITIVE)


async def test_unlisting_is_no_verdict_and_leaves_the_case_to_be_decided(bench: Bench, song: str) -> None:
    is_unlisted = "select t.unlisted, r.unlisted from track t join record r using (repo_id, rkey)"
    await bench.flag(song)
    event = await bench.decide(Action.DELIST, song, reason="sexual", note="for now")
    assert (event.action, event.reason, event.note) == ("delist", "sexual", "for now")
    assert await bench.rows(is_unlisted) == [(True, "sexual")]
    assert ((await bench.case(song)).state, await bench.labels(song)) == ("open", [])
    with pytest.raises(IllegalMove, match="it is unlisted already"):
        await bench.decide(Action.DELIST, song)
    await bench.decide(Action.RESOLVE, song, resolution=Resolution.NO_ACTION)
    await bench.decide(Action.TAKEDOWN, song)
    await bench.decide(Action.RESTORE, song, resolution=Resolution.NO_ACTION)
    assert await bench.rows(is_unlisted) == [(True, "sexual")]
    await bench.decide(Action.RELIST, song)
    assert await bench.rows(is_unlisted) == [(False, None)]
    with pytest.raises(IllegalMove, match="it is listed already"):
        await bench.decide(Action.RELIST, song)
    story = ["open", "delist", "resolve", "takedown", "restore", "relist"]
    assert await bench.history(song) == story
    with pytest.raises(NotKnown, match="it is listed nowhere"):
        await bench.decide(Action.DELIST, bench.ann.uri("fm.plyr.track", RKEYS[5]))
    with pytest.raises(IllegalMove, match="only tracks are listed"):
        await bench.decide(Action.DELIST, bench.ann.did)


async def test_without_a_case_a_track_is_unlisted_for_something_else(bench: Bench, song: str) -> None:
    event = await bench.decide(Action.DELIST, song)
    assert (event.case_id, event.reason) == (None, "other")
    assert await bench.rows("select count(*) from moderation_case") == [(0,)]
