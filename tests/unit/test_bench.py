"""The benches' own arithmetic and gates: a fast wrong answer must fail, a missed ratio must be said."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import pytest

from bin import bench
from bin.settings import load
from firehose.events import Action
from tests.bench import feed, machine, replay, report, rest, suite
from tests.bench.activity import COMMENT, LIKE, TRACK, Activity, did, seeded_rkey
from tests.bench.capture import frames_of
from tests.bench.measure import (
    Contestant,
    Finding,
    Goal,
    Pair,
    Sample,
    Target,
    WrongAnswer,
    interleave,
    require_equal,
)

SAMPLE = Sample(n=1000, wall_s=2.0, cpu_s=0.5, peak_bytes=2**20)


def finding(*ratios: float, at_least: float = 8) -> Finding:
    return Finding(
        name="pipeline",
        title="socket to rows",
        unit="frame",
        contestants=(Contestant("plyr", (SAMPLE,)), Contestant("SDK", (Sample(100, 2.0, 2.0, 2**21),))),
        targets=(Target("of the SDK's consumer", ratios, at_least, 13),),
        goals=(Goal("frames", 21_000, 22_700, "frames/s"), Goal("p99", 9, 10, "ms", at_most=True)),
        gates=("counters equal",),
    )


def test_sample_tells_rate_and_cpu_of_each():
    assert (SAMPLE.per_second, SAMPLE.cpu_us, SAMPLE.per_cpu_second) == (500, 500, 2000)


def test_pair_compares_by_wall_and_by_cpu():
    pair = Pair(ours=Sample(1000, 1.0, 0.5, 0), baseline=Sample(100, 1.0, 1.0, 0))
    assert (pair.by_wall, pair.by_cpu) == (10, 20)


def test_target_judges_the_median_and_not_the_best_pair():
    assert Target("x", (7.9, 30.0, 7.0), 8).measured == 7.9
    assert not Target("x", (7.9, 30.0, 7.0), 8).met
    assert Target("x", (8.0, 2.0, 9.0), 8).met


def test_goals_never_decide():
    assert [goal.reached for goal in finding(9).goals] == [False, True]
    assert suite.exit_code([finding(9)], []) == 0


def test_typical_sample_is_a_real_run():
    samples = tuple(Sample(10, wall, 1, 0) for wall in (1.0, 5.0, 2.0))
    assert Contestant("plyr", samples).typical is samples[2]


async def test_pairs_are_interleaved_and_take_turns_in_going_first():
    order: list[str] = []

    async def ours() -> Sample:
        order.append("ours")
        return SAMPLE

    async def baseline() -> Sample:
        order.append("baseline")
        return SAMPLE

    pairs = await interleave(3, ours, baseline)
    assert len(pairs) == 3
    assert order == ["ours", "baseline", "baseline", "ours", "ours", "baseline"]


def test_wrong_answer_and_missed_ratio_exit_with_1():
    assert suite.exit_code([finding(9)], ["verify"]) == 1
    assert suite.exit_code([finding(7.9)], []) == 1


def test_quick_asks_for_less_and_says_so():
    assert suite.judged(finding(6.0), quick=True).met
    assert not suite.judged(finding(6.0), quick=False).met
    place = machine.Machine("cpu", 2, 24, "3.11", "postgres 15", "6")
    assert any("70%" in line for line in report.heading(place, "2026-11-23", quick=True))


def test_missed_ratio_is_said_plainly():
    text = "\n".join([*report.block(finding(5.0)), *report.summary([finding(5.0)], ["feed"])])
    assert "5.00 × of the SDK's consumer: MISSED (at least 8, aim 13" in text
    assert "feed: wrong answer" in text
    assert "not reached on this machine" in text
    assert report.summary([finding(9.0)], []) == ["every ratio reached, every answer right"]


def test_json_holds_every_figure():
    place = machine.Machine("cpu", 2, 24, "3.11", "postgres 15", "6")
    answer = report.as_json(place, "2026-11-23", False, [finding(9.0, 10.0, 11.0)], [])
    found = answer["benches"]["pipeline"]
    assert found["targets"][0]["measured"] == 10.0
    assert found["contestants"]["plyr"]["cpu_us"] == 500
    assert found["goals"][0]["reached"] is False


def test_gate_refuses_what_differs_and_keeps_the_message_short():
    require_equal("counters", {"a": 1}, {"a": 1})
    with pytest.raises(WrongAnswer, match="counters: got") as refused:
        require_equal("counters", list(range(1000)), [])
    assert len(str(refused.value)) < 400


def page() -> list[dict[str, Any]]:
    return [
        {"uri": f"at://did:plc:x/fm.plyr.track/{n}", "stats": {"likes": n}, "viewer": {}}
        for n in range(feed.LIMIT)
    ]


@pytest.mark.parametrize(
    "change", [{"stats": {"likes": 7}}, {"viewer": {"like": "at://x"}}, {"uri": "at://y"}]
)
def test_feed_gate_sees_any_member_that_differs(change: dict[str, Any]):
    feed.compare_pages(page(), page())
    other = page()
    other[3] |= change
    with pytest.raises(WrongAnswer):
        feed.compare_pages(page(), other)


def test_feed_gate_refuses_a_short_page():
    with pytest.raises(WrongAnswer, match="length"):
        feed.compare_pages(page()[:-1], page()[:-1])


def test_frames_come_out_of_the_wire_as_they_went_in(tmp_path: Path):
    dice = random.Random(1)
    frames = [dice.randbytes(size) for size in (0, 1, 125, 126, 5_400, 65_535, 65_536, 70_000)]
    file = tmp_path / "capture.ws"
    file.write_bytes(replay.wrap(frames))
    assert list(frames_of(file)) == frames


def test_activity_repeats_itself_and_likes_no_track_twice():
    def deeds() -> list[Any]:
        accounts = range(1, 6)
        activity = Activity(3, accounts, [did(account) for account in accounts])
        return [activity.next(1_790_000_000_000_000 + n * 1000) for n in range(2000)]

    first = deeds()
    assert first == deeds()
    live: dict[tuple[int, str], str] = {}
    for deed in first:
        if deed.collection == LIKE and deed.record is not None:
            uri = deed.record["subject"]["uri"]
            assert (deed.account, uri) not in {(account, liked) for (account, _), liked in live.items()}
            live[deed.account, deed.rkey] = uri
        elif deed.action is Action.DELETE:
            live.pop((deed.account, deed.rkey), None)
    assert {deed.collection for deed in first} == {TRACK, LIKE, COMMENT}
    assert sum(deed.action is Action.DELETE for deed in first) > 50


def test_seeded_names_have_the_networks_forms():
    from lexicons.syntax import is_did, is_tid

    assert all(is_did(did(n)) and is_tid(seeded_rkey(n)) for n in (1, 31, 200_000, 6_500_000))


def test_machine_is_read_from_its_kernel():
    place = machine.describe()
    assert place.cores >= 1
    assert place.memory_gib >= 1
    assert machine.own_peak_bytes() > 2**20


def test_unknown_bench_is_refused_with_2(capsys: pytest.CaptureFixture[str]):
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    assert bench.run(parser.parse_args(["verfy"]), load({})) == 2
    assert "no bench is called verfy" in capsys.readouterr().err


def test_an_answer_of_ours_holds_all_that_the_other_has():
    other = {"tracks": [{"id": 1, "tags": []}], "next_cursor": "theirs"}
    rest.compare("page", {"tracks": [{"id": 1, "tags": [], "more": 1}], "next_cursor": "ours"}, other)
    for wrong in (
        {"tracks": [{"id": 2, "tags": []}]},
        {"tracks": [{"id": 1}]},
        {"tracks": []},
        {"tracks": [{"id": 1, "tags": []}] * 2},
        {},
    ):
        with pytest.raises(WrongAnswer):
            rest.compare("page", wrong, other)
