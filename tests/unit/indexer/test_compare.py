"""A tree against what is held: pure, and the table of the module's docstring line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firehose.events import Action
from indexer.chain import Chain, Gap
from indexer.compare import Found, Reach, compare, path, undisturbed
from indexer.prepare import Candidate
from lexicons.syntax import Cid, Did, Nsid, Rev, Rkey
from storage.sync import Held

DID, TRACK, LIKE = Did("did:plc:a"), Nsid("fm.plyr.track"), Nsid("fm.plyr.like")
R3, R5, R7 = Rev("3k3"), Rev("3k5"), Rev("3k7")


def found(rkey: str, cid: str, collection: Nsid = TRACK) -> Found:
    return Found(collection, Rkey(rkey), Cid(cid), cid.encode())


def held(rkey: str, cid: str | None, rev: Rev = R3, *, verified: bool = True) -> Held:
    return Held(TRACK, Rkey(rkey), rev, None if cid is None else Cid(cid), verified)


def differences(theirs: list[Found], ours: list[Held]) -> list[tuple[str, str | None, Action]]:
    return [(d.rkey, d.cid, d.action) for d in compare(theirs, ours, DID, R5)]


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        ([found("x", "a")], [], [("x", "a", Action.CREATE)]),
        ([found("x", "a")], [held("x", "b")], [("x", "a", Action.UPDATE)]),
        ([found("x", "a")], [held("x", None)], [("x", "a", Action.CREATE)]),
        ([found("x", "a")], [held("x", "a")], []),
        ([found("x", "a")], [held("x", "a", verified=False)], [("x", "a", Action.UPDATE)]),
        ([found("x", "a")], [held("x", "a", R7, verified=False)], []),
        ([], [held("x", "b")], [("x", None, Action.DELETE)]),
        ([], [held("x", "b", R5)], [("x", None, Action.DELETE)]),
        ([], [held("x", None)], []),
        ([], [held("x", None, verified=False)], [("x", None, Action.DELETE)]),
        ([found("x", "a")], [held("x", "b", R7)], []),
        ([found("x", "a")], [held("x", None, R7)], []),
        ([], [held("x", "b", R7)], []),
    ],
)
def test_each_line_of_the_table(
    theirs: list[Found], ours: list[Held], expected: list[tuple[str, str | None, Action]]
) -> None:
    assert differences(theirs, ours) == expected


R8 = Rev("3k8")


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        ([found("x", "a")], [held("x", "b", R7)], [("x", "a", Action.UPDATE)]),
        ([found("x", "a")], [held("x", "a", R7)], [("x", "a", Action.UPDATE)]),
        ([found("x", "a")], [held("x", None, R7)], [("x", "a", Action.CREATE)]),
        ([], [held("x", "b", R7)], [("x", None, Action.DELETE)]),
        ([], [held("x", None, R7)], [("x", None, Action.DELETE)]),
        ([], [held("x", "b", R8)], []),
        ([found("x", "a")], [held("x", "b", R8)], []),
        ([], [held("x", None, R5)], []),
    ],
)
def test_within_the_reach_of_a_host_that_stands_by_its_rev_it_decides(
    theirs: list[Found], ours: list[Held], expected: list[tuple[str, str | None, Action]]
) -> None:
    made = list(compare(theirs, ours, DID, R5, Reach(R7, proven=True), R7))
    assert [(d.rkey, d.cid, d.action) for d in made] == expected
    assert all((d.rev, d.over) == (R5, R7) for d in made)


def test_a_reach_over_hearsay_leaves_what_was_signed() -> None:
    ours = [held("x", "b", R7), held("y", "b", R7, verified=False), held("z", "b", R8, verified=False)]
    made = compare([], ours, DID, R5, Reach(R7, proven=False), R7)
    assert [d.rkey for d in made] == ["y"]


def test_a_difference_is_a_version_at_the_rev_of_the_tree() -> None:
    (made,) = compare([found("x", "a")], [], DID, R5)
    assert made == Candidate(DID, TRACK, Rkey("x"), R5, Cid("a"), b"a", action=Action.CREATE)


contents = st.dictionaries(
    st.tuples(st.sampled_from(["fm.plyr.like", "fm.plyr.like-x", "fm.plyr.likes"]), st.sampled_from("abc~_")),
    st.sampled_from(["1", "2"]),
)


@given(contents, contents)
def test_what_differs_leads_from_one_to_the_other(
    tree: dict[tuple[str, str], str], ours: dict[tuple[str, str], str]
) -> None:
    theirs = sorted((Found(Nsid(c), Rkey(k), Cid(v), b"") for (c, k), v in tree.items()), key=path)
    mine = sorted((Held(Nsid(c), Rkey(k), R3, Cid(v), True) for (c, k), v in ours.items()), key=path)
    after = dict(ours)
    for d in compare(theirs, mine, DID, R5):
        if d.cid is None:
            del after[d.collection, d.rkey]
        else:
            assert after.get((d.collection, d.rkey)) != d.cid
            after[d.collection, d.rkey] = d.cid
    assert after == tree


def gap(after: Rev | None, until: Rev) -> Gap:
    return Gap(after, None, until, None)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (Chain(R5), Chain(R5), True),
        (Chain(R7), Chain(Rev("3k9")), True),  # what came is newer than the tree
        (Chain(R3), Chain(R7), False),  # something between them may be older
        (Chain(), Chain(R7), False),
        (Chain(R7, None, (gap(R3, R7),)), Chain(R7), False),  # a gap was closed by late frames
        (Chain(R7, None, (gap(R5, R7),)), Chain(R7), True),  # but behind the tree
        (Chain(R7, None, (gap(None, R7),)), Chain(R7, None, (gap(None, R3),)), False),
    ],
)
def test_only_commits_from_before_the_tree_disturb(before: Chain, now: Chain, expected: bool) -> None:
    assert undisturbed(before, now, R5) is expected
