"""What concerns us: exact names, and everything of an account that we track (B14, B17, T28, T29)."""

from __future__ import annotations

import libipld
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firehose.events import ErrorFrame, Frame
from firehose.filter import Interest
from firehose.frames import BadFrame, decode_frame, seq_of
from lexicons.syntax import Did, Nsid
from tests.corpus import Corpus
from tests.fakenet.repo import FakeRepo, error_frame, frame

OURS = frozenset(Nsid(f"fm.plyr.{name}") for name in ("track", "like", "comment", "list", "actor.profile"))
KNOWN = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
STRANGER = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"


def commit(*paths: str, repo: str = STRANGER) -> Frame:
    ops = [{"action": "create", "path": path, "cid": b"?"} for path in paths]
    return Frame("#commit", {"repo": repo, "ops": ops, "seq": 1})


@pytest.fixture
def interest() -> Interest:
    return Interest(OURS, {KNOWN})


@pytest.mark.parametrize("nsid", sorted(OURS))
def test_a_strangers_commit_is_wanted_for_any_of_our_records(interest: Interest, nsid: str) -> None:
    assert interest.wants(commit(f"{nsid}/3k"))
    assert interest.wants(commit("app.bsky.feed.post/3k", f"{nsid}/3k"))


@pytest.mark.parametrize(
    "path",
    [
        "fm.plyr.trackfoo/3k",
        "fm.plyr.track.foo/3k",
        "fm.plyr/3k",
        "fm.plyr.track",
        "xfm.plyr.track/3k",
        "fm.plyrx.track/3k",
        "app.bsky.feed.post/fm.plyr.track",
        "",
    ],
)
def test_t28_a_name_that_only_begins_like_ours_is_not_ours(interest: Interest, path: str) -> None:
    assert not interest.wants(commit(path))


def test_t29_records_of_another_environment_are_not_ours(interest: Interest) -> None:
    assert not interest.wants(commit("fm.plyr.dev.track/3k"))
    assert not interest.wants(commit("fm.plyr.stg.like/3k"))
    dev = Interest(frozenset({Nsid("fm.plyr.dev.track")}), set())
    assert dev.wants(commit("fm.plyr.dev.track/3k"))
    assert not dev.wants(commit("fm.plyr.track/3k"))


def test_every_commit_of_a_tracked_account_is_wanted(interest: Interest) -> None:
    assert interest.wants(commit("app.bsky.feed.post/3k", repo=KNOWN))
    assert interest.wants(commit(repo=KNOWN))
    assert not interest.wants(commit("app.bsky.feed.post/3k"))
    assert not interest.wants(commit())


def test_an_account_is_tracked_from_the_moment_it_is_added(interest: Interest) -> None:
    assert not interest.wants(commit(repo=STRANGER))
    interest.tracked.add(Did(STRANGER))
    assert interest.wants(commit(repo=STRANGER))


@pytest.mark.parametrize("kind", ["#sync", "#identity", "#account"])
def test_other_events_are_wanted_of_tracked_accounts_alone(interest: Interest, kind: str) -> None:
    assert interest.wants(Frame(kind, {"did": KNOWN}))
    assert not interest.wants(Frame(kind, {"did": STRANGER}))
    assert not interest.wants(Frame(kind, {"repo": KNOWN}))


def test_notices_are_wanted_and_unknown_types_are_not(interest: Interest) -> None:
    assert interest.wants(Frame("#info", {"name": "OutdatedCursor"}))
    assert not interest.wants(Frame("#future", {"did": KNOWN}))
    assert not interest.wants(Frame("", {"repo": KNOWN, "ops": []}))


@pytest.mark.parametrize("ops", [None, 5, "fm.plyr.track/3k", [None], [5], [{}], [{"path": 5}], {}])
def test_a_malformed_commit_is_wanted_only_as_far_as_it_concerns_us(interest: Interest, ops: object) -> None:
    assert not interest.wants(Frame("#commit", {"repo": STRANGER, "ops": ops}))
    assert interest.wants(Frame("#commit", {"repo": KNOWN, "ops": ops}))
    if isinstance(ops, list):
        assert interest.wants(
            Frame("#commit", {"repo": STRANGER, "ops": [*ops, {"path": "fm.plyr.like/3k"}]})
        )
        assert interest.wants(
            Frame("#commit", {"repo": STRANGER, "ops": [{"path": "fm.plyr.like/3k"}, *ops]})
        )
    assert not interest.wants(Frame("#commit", {}))
    assert not interest.wants(Frame("#commit", {"repo": ["unhashable"]}))
    assert not interest.wants(Frame("#account", {"did": {}}))


def test_an_error_frame_is_always_handed_on(interest: Interest) -> None:
    assert interest.sift(error_frame("FutureCursor")) == (None, ErrorFrame("FutureCursor", None))


def plainly(interest: Interest, raw: bytes) -> tuple[int | None, Frame | ErrorFrame | None]:
    got = decode_frame(raw)
    if isinstance(got, ErrorFrame) or interest.wants(got):
        return seq_of(got), got
    return seq_of(got), None


def test_sifting_gives_the_seq_of_every_real_frame(corpus: Corpus) -> None:
    repos = [body["repo"] for _, body, _ in corpus.commits]
    interest = Interest(OURS | {Nsid("app.bsky.feed.post")}, set(repos[:20]))
    kept = 0
    for raw in corpus.frames:
        assert interest.sift(raw) == plainly(interest, raw)
        kept += interest.sift(raw)[1] is not None
    assert 30 < kept < 120


NAMES = [*sorted(OURS), "fm.plyr.trackfoo", "fm.plyr.dev.track", "app.bsky.feed.post", "cseq.x.y", "fm.plyr"]
PATHS = st.builds(lambda name, rkey: f"{name}/{rkey}", st.sampled_from(NAMES), st.text(max_size=40))
OPS = st.lists(
    st.fixed_dictionaries(
        {
            "path": PATHS,
            "action": st.sampled_from(["create", "update", "delete"]),
            "cid": st.none() | st.binary(),
        },
        optional={"prev": st.none() | st.binary(), "cseq": st.text(max_size=5)},
    ),
    max_size=3,
)
BODIES = st.fixed_dictionaries(
    {"repo": st.sampled_from([KNOWN, STRANGER, "did:web:x.example"]), "ops": OPS},
    optional={"blocks": st.binary(max_size=40), "rev": st.text(max_size=14), "x": st.integers(0, 2**40)},
)


@settings(max_examples=500)
@given(BODIES, st.integers(0, 2**63 - 1), st.sampled_from(["#commit", "#sync", "#account"]))
def test_sifting_keeps_what_the_plain_way_keeps(body: dict[str, object], seq: int, kind: str) -> None:
    interest = Interest(OURS, {KNOWN})
    raw = frame(kind, body, seq)
    assert interest.sift(raw) == plainly(interest, raw)


REV = "3mptbypluud2a"
LINK = bytes.fromhex("01711220") + bytes(range(32))


@settings(max_examples=1000)
@given(
    path=PATHS | st.builds(lambda name, n: f"{name}/{'r' * n}", st.sampled_from(NAMES), st.integers(0, 300)),
    repo=st.sampled_from([KNOWN, STRANGER, STRANGER[:-1], STRANGER + "a"]),
    rev=st.sampled_from([REV, REV[:-1], REV + "2"]),
    action=st.sampled_from(["create", "update", "delete"]),
    more=st.sampled_from([{}, {"prev": LINK}, {"cid": None}]),
    times=st.sampled_from([1, 1, 1, 2]),
    seq=st.integers(0, 2**64 - 1) | st.integers(2**32, 2**40),
)
def test_what_looks_like_the_usual_frame_is_judged_as_it_is_decoded(
    path: str, repo: str, rev: str, action: str, more: dict[str, object], times: int, seq: int
) -> None:
    interest = Interest(OURS, {KNOWN})
    op = {"path": path, "action": action, "cid": LINK} | more
    body = {
        "ops": [op] * times,
        "rev": rev,
        "repo": repo,
        "blocks": bytes(300),
        "time": "2026-07-04T14:38:08Z",
    }
    raw = frame("#commit", body, seq)
    try:
        expected = plainly(interest, raw)
    except BadFrame as error:
        with pytest.raises(BadFrame, match=error.reason):
            interest.sift(raw)
    else:
        assert interest.sift(raw) == expected


def test_sifting_keeps_what_the_plain_way_keeps_of_real_commits() -> None:
    known, stranger = FakeRepo(seed=1), FakeRepo(seed=2)
    interest = Interest(OURS, {Did(known.did)})
    kept = 0
    for n in range(120):
        name = NAMES[n % len(NAMES)]
        for repo in (known, stranger):
            raw = frame("#commit", repo.write([("create", name, f"3k{n}", {"n": n})]), 2**33 + n)
            assert interest.sift(raw) == plainly(interest, raw)
            assert (interest.sift(raw)[1] is not None) == (repo is known or name in OURS)
            kept += interest.sift(raw)[1] is not None
    assert kept > 150


def test_a_damaged_frame_is_refused_or_was_of_no_interest(corpus: Corpus) -> None:
    repos = [body["repo"] for _, body, _ in corpus.commits]
    interest = Interest(OURS, set(repos))
    for raw in corpus.frames[::10]:
        for cut in range(0, len(raw), 97):
            with pytest.raises(BadFrame):
                interest.sift(raw[:cut])


def test_a_frame_that_hides_a_second_seq_in_a_path_is_seen_through() -> None:
    interest = Interest(OURS, {KNOWN})
    trap = "a.b.c/cseq\x1b" + "\0" * 8 + "drepox did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
    body = {"repo": KNOWN, "ops": [{"path": trap, "action": "create", "cid": b"?"}]}
    raw = libipld.encode_dag_cbor({"t": "#commit", "op": 1}) + libipld.encode_dag_cbor({**body, "seq": 5})
    assert interest.sift(raw)[1] is not None
