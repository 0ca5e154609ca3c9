from dataclasses import dataclass

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firehose.events import Commit, Sync
from indexer.chain import MOST_GAPS, Chain, Gap, doubt, extend, is_foreign, observe, rebase
from indexer.states import MOVES, IllegalMove, State, move
from lexicons.syntax import Cid, Did, Rev

WHO = Did("did:plc:a")


def rev(n: int) -> Rev:
    return Rev(f"3k{n:011d}")


def commit(n: int) -> Commit:
    """The n-th commit of a repo; the first has no predecessor."""
    return Commit(
        seq=n,
        did=WHO,
        rev=rev(n),
        since=rev(n - 1) if n > 1 else None,
        cid=Cid(f"commit{n}"),
        data=Cid(f"data{n}"),
        prev_data=Cid(f"data{n - 1}") if n > 1 else None,
        time="",
        ops=(),
    )


def sync(n: int, data: str) -> Sync:
    return Sync(seq=n, did=Did("did:plc:a"), rev=rev(n), data=Cid(data), time="")


def after(*numbers: int) -> Chain:
    chain = Chain()
    for n in numbers:
        chain = extend(chain, commit(n))
    return chain


def test_an_unbroken_chain_from_the_first_commit_is_active() -> None:
    assert after(1, 2, 3) == Chain(rev(3), Cid("data3"), ())
    assert after(1, 2, 3).state is State.ACTIVE


def test_a_repo_first_seen_in_the_middle_is_pending() -> None:
    assert after(5, 6).state is State.PENDING
    assert Chain().state is State.PENDING


def test_a_missing_commit_desynchronizes_and_its_late_arrival_heals() -> None:
    assert after(1, 2, 4).state is State.DESYNCHRONIZED
    assert after(1, 2, 4, 3) == after(1, 2, 3, 4)


def test_replayed_commit_changes_nothing() -> None:
    assert after(1, 2, 3, 2, 1, 3) == after(1, 2, 3)


def test_prev_data_that_differs_is_a_gap_though_the_rev_fits() -> None:
    forged = commit(3)
    other = Commit(
        forged.seq, forged.did, forged.rev, forged.since, forged.cid, forged.data, Cid("other"), "", ()
    )
    assert extend(after(1, 2), other).state is State.DESYNCHRONIZED


def test_a_repo_that_starts_over_needs_a_resync() -> None:
    again = commit(9)
    fresh = Commit(again.seq, again.did, again.rev, None, again.cid, again.data, None, "", ())
    chain = extend(after(1, 2), fresh)
    assert chain.state is State.DESYNCHRONIZED
    assert extend(extend(chain, commit(3)), commit(8)).state is State.DESYNCHRONIZED


def test_sync_with_our_data_only_advances_the_rev() -> None:
    assert observe(after(1, 2), sync(3, "data2")) == Chain(rev(3), Cid("data2"), ())


def test_sync_with_other_data_desynchronizes() -> None:
    assert observe(after(1, 2), sync(3, "elsewhere")).state is State.DESYNCHRONIZED


def test_an_old_sync_changes_nothing() -> None:
    assert observe(after(1, 2, 3), sync(2, "elsewhere")) == after(1, 2, 3)


def test_the_number_of_gaps_is_bounded() -> None:
    chain = after(*range(1, 200, 2))
    assert len(chain.gaps) == MOST_GAPS
    assert chain.state is State.DESYNCHRONIZED


@dataclass(frozen=True)
class Delivery:
    order: tuple[int, ...]


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    length = draw(st.integers(1, 12))
    numbers = list(range(1, length + 1))
    extra = draw(st.lists(st.sampled_from(numbers), max_size=12))
    return Delivery(tuple(draw(st.permutations(numbers + extra))))


@given(deliveries())
def test_any_order_and_duplication_ends_in_the_same_chain(delivery: Delivery) -> None:
    assert after(*delivery.order) == after(*range(1, max(delivery.order) + 1))


@given(deliveries(), st.integers(1, 12))
def test_a_chain_that_lacks_a_commit_is_never_active(delivery: Delivery, lost: int) -> None:
    seen = [n for n in delivery.order if n != lost]
    if lost < max(delivery.order) and seen:
        assert after(*seen).state is not State.ACTIVE


@given(deliveries())
def test_gaps_survive_their_storage(delivery: Delivery) -> None:
    chain = after(*delivery.order[: len(delivery.order) // 2])
    assert Chain.of(chain.rev, chain.data, orjson.loads(orjson.dumps(chain.gaps))) == chain


def read(n: int) -> tuple[Rev, Cid]:
    """What a resync says that read the repo at its n-th commit."""
    return rev(n), Cid(f"data{n}")


def test_a_repo_read_whole_is_active_at_what_was_read() -> None:
    assert rebase(after(3), *read(6)) == Chain(*read(6))
    assert rebase(Chain(), *read(6)).state is State.ACTIVE


def test_commits_that_came_during_a_read_join_on_to_it() -> None:
    assert rebase(after(2, 5, 6), *read(4)) == after(1, 2, 3, 4, 5, 6)
    assert rebase(after(2, 5, 6), *read(5)) == after(1, 2, 3, 4, 5, 6)


def test_what_is_missing_behind_a_read_stays_missing() -> None:
    assert rebase(after(3, 6, 9), *read(4)).gaps == (
        Gap(*read(4), *read(5)),
        Gap(*read(6), *read(8)),
    )


def test_a_doubt_is_closed_by_a_read_that_began_after_it_alone() -> None:
    doubted = doubt(after(1, 2))
    assert doubted.state is State.DESYNCHRONIZED
    assert doubt(doubted) == doubted
    assert extend(doubted, commit(3)).state is State.DESYNCHRONIZED
    later = extend(doubted, commit(3))
    assert rebase(later, *read(2), doubted.gaps) == after(1, 2, 3)
    assert rebase(extend(doubt(after(1, 2, 3)), commit(4)), *read(3)).state is State.DESYNCHRONIZED


@given(st.permutations([1, 2, 3, 4, 5, 6, 7]), st.integers(1, 7), st.integers(0, 7))
def test_a_read_at_any_moment_of_any_order_ends_in_step(order: list[int], at: int, when: int) -> None:
    chain = Chain()
    for n, number in enumerate(order):
        if n == when:
            chain = rebase(chain, *read(at), chain.gaps)
        chain = extend(chain, commit(number))
    if when == 7:
        chain = rebase(chain, *read(at), chain.gaps)
    assert chain == after(1, 2, 3, 4, 5, 6, 7)


def elsewhere(n: int, since: int) -> Commit:
    """A commit of another history that left ours after the commit `since`."""
    base = commit(since)
    return Commit(n, base.did, rev(n), base.rev, Cid(f"x{n}"), Cid(f"xdata{n}"), base.data, "", ())


def test_what_lies_within_the_reach_of_a_read_is_not_the_repos() -> None:
    forked = doubt(extend(after(1, 2, 3), elsewhere(7, 3)), forked=True)
    assert forked.state is State.DESYNCHRONIZED
    assert rebase(forked, *read(3), forked.gaps, rev(7)) == after(1, 2, 3)
    assert rebase(forked, *read(5), forked.gaps, rev(7)) == after(1, 2, 3, 4, 5)


def test_commits_that_came_during_such_a_read_join_on_to_it() -> None:
    forked = doubt(extend(after(1, 2, 3), elsewhere(7, 3)), forked=True)
    later = Commit(8, WHO, rev(8), rev(3), Cid("commit8"), Cid("data8"), Cid("data3"), "", ())
    assert rebase(extend(forked, later), *read(3), forked.gaps, rev(7)) == Chain(rev(8), Cid("data8"))
    lost = Commit(9, WHO, rev(9), rev(8), Cid("commit9"), Cid("data9"), Cid("data8"), "", ())
    assert rebase(extend(forked, lost), *read(3), forked.gaps, rev(7)).gaps == (
        Gap(*read(3), rev(8), Cid("data8")),
    )


def test_a_read_without_a_reach_leaves_what_came_after_it() -> None:
    forked = doubt(extend(after(1, 2, 3), elsewhere(7, 3)), forked=True)
    assert rebase(forked, *read(3)).rev == rev(7)
    assert rebase(forked, *read(3)).state is State.DESYNCHRONIZED


def test_up_to_a_fork_only_what_was_read_whole_is_the_repos() -> None:
    assert not is_foreign(rev(5), rev(3), None)
    assert [is_foreign(rev(n), rev(3), rev(7)) for n in (2, 3, 4, 7, 8)] == [False, False, True, True, False]
    assert is_foreign(rev(1), None, rev(7))


def test_two_gaps_that_become_one_have_no_end_if_either_has_none() -> None:
    chain = doubt(after(1), forked=True)
    for n in range(3, 3 + 2 * MOST_GAPS, 2):
        chain = extend(chain, commit(n))
    assert len(chain.gaps) == MOST_GAPS
    assert chain.gaps[0] == Gap(*read(1), None, None, forked=True)


def test_every_state_has_its_moves_and_no_other() -> None:
    assert set(MOVES) == set(State)
    for before in State:
        for then in State:
            if then is before or then in MOVES[before]:
                assert move(before, then) is then
            else:
                with pytest.raises(IllegalMove):
                    move(before, then)
