"""The archive's steps, folded, put a repo where the live index put it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import orjson
import pytest

from firehose.events import Commit, Sync
from indexer.chain import Chain, Gap, doubt, extend, observe, rebase
from indexer.fold import Folded, UnknownStep, folded
from indexer.states import State
from lexicons.syntax import Cid, Did, Rev
from storage.fold import Step

WHO = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")


def step(kind: str, at: int, rev: str | None = None, **more: Any) -> Step:
    values: dict[str, Any] = dict.fromkeys(Step._fields) | {
        "did": WHO,
        "seq": at,
        "at_us": at,
        "kind": kind,
        "rev": rev,
    }
    return Step(**(values | more))


def commit(at: int, since: int | None, rev: int) -> Step:
    before = None if since is None else f"data{since}"
    return step(
        "commit",
        at,
        f"r{rev}",
        since=None if since is None else f"r{since}",
        data=f"data{rev}",
        prev_data=before,
    )


def of(*steps: Step) -> Folded:
    ((did, repo),) = folded(steps)
    assert did == WHO
    return repo


def test_a_repo_seen_from_its_first_commit_on_is_active() -> None:
    repo = of(commit(1, None, 1), commit(2, 1, 2))
    assert (repo.state, repo.chain) == (State.ACTIVE, Chain(Rev("r2"), Cid("data2")))


def test_a_gap_is_closed_by_the_commit_that_was_late() -> None:
    steps = [commit(1, None, 1), commit(2, 2, 3)]
    assert of(*steps).state is State.DESYNCHRONIZED
    assert of(*steps, commit(3, 1, 2)).state is State.ACTIVE


def test_a_resync_that_goes_on_is_not_undone_by_the_stream() -> None:
    steps = [commit(1, 4, 5), step("state", 2, verdict="resyncing"), commit(3, 5, 6), commit(4, 7, 8)]
    assert of(*steps).state is State.RESYNCING


def test_a_whole_read_ends_with_the_state_that_it_names() -> None:
    steps = [
        commit(1, 4, 5),
        step("state", 2, verdict="resyncing"),
        commit(3, 5, 6),
        step("resync", 4, "r5", data="data5"),
        step("state", 4, "r5", verdict="active"),
    ]
    repo = of(*steps)
    assert repo == Folded(Chain(Rev("r6"), Cid("data6")), State.ACTIVE, Rev("r5"))


def test_a_gap_without_an_end_is_closed_by_a_read_that_began_after_it() -> None:
    begun = [commit(1, None, 1), step("doubt", 2), step("state", 3, verdict="resyncing"), commit(4, 1, 9)]
    known = orjson.dumps([["r1", "data1"]]).decode()
    read = of(
        *begun, step("resync", 5, "r4", data="data4", before=known), step("state", 5, "r4", verdict="active")
    )
    assert read.chain.gaps == ()
    unknown = of(
        *begun, step("resync", 5, "r4", data="data4"), step("state", 5, "r4", verdict="desynchronized")
    )
    assert [gap.until for gap in unknown.chain.gaps] == [None]


def test_a_deleted_account_begins_anew() -> None:
    gaps = orjson.dumps([{"after": None, "after_data": None, "until": None, "until_data": None}]).decode()
    repo = of(commit(1, None, 1), step("state", 2, "r1", verdict="pending", gaps=gaps, synced_rev="r1"))
    assert (repo.state, repo.synced_rev) == (State.PENDING, "r1")
    assert repo.chain == Chain(Rev("r1"), Cid("data1"), (Gap(None, None, None, None),))


def test_a_read_with_a_reach_ends_where_the_host_stands_and_what_was_beyond_it_stays_out() -> None:
    known = orjson.dumps([["r5", "data5", True]]).decode()
    begun = [commit(1, None, 1), commit(2, 1, 5), step("doubt", 3, forked=True)]
    read = step("resync", 4, "r3", data="data3", before=known, over="r5", forked=True)
    steps = [*begun, read, step("state", 4, "r3", verdict="active")]
    repo = of(*steps)
    assert repo == Folded(Chain(Rev("r3"), Cid("data3")), State.ACTIVE, Rev("r3"), Rev("r5"))
    again = of(*steps, commit(5, 1, 5))
    assert again.chain == Chain(Rev("r3"), Cid("data3"), (Gap(Rev("r3"), Cid("data3"), None, None),))
    assert again.state is State.DESYNCHRONIZED
    assert of(*steps, commit(5, 3, 6)).chain == Chain(Rev("r6"), Cid("data6"))


def test_a_read_that_refutes_hearsay_leaves_what_was_signed() -> None:
    repo = of(commit(1, None, 1), commit(2, 1, 5), step("resync", 3, "r5", data="data5", over="r9"))
    assert (repo.chain, repo.synced_rev, repo.forked_rev) == (Chain(Rev("r5"), Cid("data5")), "r5", "r9")


def test_what_was_committed_together_moves_the_state_once() -> None:
    """A resync goes on while one batch closes its gap and opens another."""
    before = [commit(1, None, 1), commit(2, 2, 3), step("state", 3, verdict="resyncing")]
    late, gap = commit(4, 1, 2), commit(5, 4, 5)
    assert of(*before, late, gap._replace(at_us=4)).state is State.RESYNCING
    assert of(*before, late, gap).state is State.DESYNCHRONIZED


def test_an_archive_of_another_version_is_refused() -> None:
    with pytest.raises(UnknownStep, match="seq 1: dance"):
        of(step("dance", 1))
    with pytest.raises(UnknownStep, match="without rev"):
        of(step("sync", 1))


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_steps_gives_the_chain_that_was_kept_live(seed: int) -> None:
    rng = random.Random(seed)
    chain, steps = Chain(), list[Step]()
    revs: Sequence[int] = sorted(rng.sample(range(100, 999), 40))
    history = [(None, revs[0]), *pairwise(revs)]
    rng.shuffle(history)
    for at, (since, rev) in enumerate(history):
        match rng.randrange(12):
            case 0:
                one = step("sync", at, f"r{rev}", data=f"data{rev}")
                chain = observe(chain, Sync(at, WHO, Rev(f"r{rev}"), Cid(f"data{rev}"), ""))
            case 1:
                one = step("doubt", at)
                chain = doubt(chain)
            case 2:
                one = step("resync", at, f"r{rev}", data=f"data{rev}")
                chain = rebase(chain, Rev(f"r{rev}"), Cid(f"data{rev}"))
            case _:
                one = commit(at, since, rev)
                assert one.data is not None
                event = Commit(at, WHO, Rev(f"r{rev}"), one.since, Cid(""), one.data, one.prev_data, "", ())
                chain = extend(chain, event)
        steps.append(one)
    assert of(*steps).chain == chain
