"""Capture files: whole, cut, damaged, and the chain of commits within one (rules B7, B8, B16)."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
import zstandard

from firehose.capture import (
    CaptureCheck,
    CaptureCorrupt,
    CaptureTruncated,
    CaptureWriter,
    read_capture,
    record_line,
)
from firehose.events import Commit, ErrorFrame, Frame
from firehose.frames import decode_frame
from firehose.keys import PublicKey
from firehose.message import CommitRejected, Reason
from lexicons.syntax import Did
from tests.corpus import NOW_US, Corpus
from tests.fakenet.repo import FakeRepo, SigningKey, error_frame, frame

FRAMES = [bytes((n % 251,)) * (n * 37 % 5000 + 1) for n in range(300)]


def written(frames: list[bytes], flush_every: int = 1000) -> bytes:
    file = io.BytesIO()
    writer = CaptureWriter(file)
    for n, each in enumerate(frames, 1):
        writer.write(each)
        if n % flush_every == 0:
            writer.flush()
    writer.flush()
    return file.getvalue()


def read_until_damage(data: bytes) -> tuple[list[bytes], type[Exception] | None]:
    whole: list[bytes] = []
    try:
        for each in read_capture(io.BytesIO(data)):
            whole.append(each)
    except (CaptureTruncated, CaptureCorrupt) as error:
        return whole, type(error)
    return whole, None


@pytest.mark.parametrize("flush_every", [1, 7, 1000])
def test_what_was_written_is_read_back(flush_every: int) -> None:
    assert read_until_damage(written(FRAMES, flush_every)) == (FRAMES, None)


def test_an_empty_capture_has_no_frames() -> None:
    assert read_until_damage(written([])) == ([], None)


def test_a_closed_file_is_complete(tmp_path: Path) -> None:
    with CaptureWriter((tmp_path / "capture.zst").open("wb")) as writer:
        for each in FRAMES:
            writer.write(each)
    assert read_until_damage((tmp_path / "capture.zst").read_bytes()) == (FRAMES, None)


def test_a_cut_file_gives_what_was_whole_and_then_says_that_it_is_cut() -> None:
    data = written(FRAMES, 10)
    boundaries = 0
    for size in range(0, len(data), 31):
        whole, damage = read_until_damage(data[:size])
        assert whole == FRAMES[: len(whole)]
        if damage is None:
            boundaries += 1
            assert len(whole) % 10 == 0  # cut between two flushes: nothing tells it from a whole file
        else:
            assert damage is CaptureTruncated
    assert boundaries < 5


def test_all_that_was_flushed_survives_a_crash() -> None:
    file = io.BytesIO()
    writer = CaptureWriter(file)
    for n, each in enumerate(FRAMES):
        writer.write(each)
        if n == 99:
            writer.flush()
    assert read_until_damage(file.getvalue())[0][:100] == FRAMES[:100]


def test_a_damaged_file_never_gives_a_wrong_frame() -> None:
    data = written(FRAMES, 10)
    rng = random.Random(1)
    damaged = 0
    for _ in range(300):
        at = rng.randrange(len(data))
        flipped = bytes((data[at] ^ 1 << rng.randrange(8),))
        whole, damage = read_until_damage(data[:at] + flipped + data[at + 1 :])
        # the checksum stands at the end of each part of ten: its frames came out before it was seen
        sure = max(0, len(whole) - 10)
        if damage is None:
            assert whole == FRAMES
        else:
            damaged += 1
            assert whole[:sure] == FRAMES[:sure]
    assert damaged > 250


@pytest.mark.parametrize("data", [b"not zstd at all", b"\x28\xb5\x2f\xfd" + b"\xff" * 50])
def test_what_is_no_capture_is_corrupt(data: bytes) -> None:
    assert read_until_damage(data) == ([], CaptureCorrupt)


@pytest.mark.parametrize("length", [0, 5_000_001, 2**32 - 1])
def test_an_impossible_length_is_corrupt(length: int) -> None:
    data = zstandard.compress(b"\x01\0\0\0x" + length.to_bytes(4, "little") + b"y" * 100)
    assert read_until_damage(data) == ([b"x"], CaptureCorrupt)


def test_a_frame_cut_inside_whole_compression_is_truncated() -> None:
    assert read_until_damage(zstandard.compress(b"\x05\0\0\0abc")) == ([], CaptureTruncated)
    assert read_until_damage(zstandard.compress(b"\x05\0")) == ([], CaptureTruncated)


def test_a_frame_that_no_server_sends_is_not_written() -> None:
    writer = CaptureWriter(io.BytesIO())
    for wrong in (b"", b"x" * 5_000_001):
        with pytest.raises(ValueError, match="bytes"):
            writer.write(wrong)


# -- what is in it -----------------------------------------------------------------------------------


def test_the_real_capture_is_verified_whole(corpus: Corpus) -> None:
    check = CaptureCheck({Did(did): key for did, key in corpus.keys.items()}, NOW_US)
    verdicts = [check.check(raw) for raw in corpus.frames]
    commits = [each for each in verdicts if isinstance(each, Commit)]
    lines = [record_line(commit, op) for commit in commits for op in commit.ops]
    report = check.report
    assert (report.frames, report.commits, report.verified) == (150, 148, 148)
    assert (report.identity, report.account, report.sync, report.info, report.error) == (1, 1, 0, 0, 0)
    assert report.failed == {}
    assert lines == corpus.expected()


def test_one_missing_key_fails_its_commits_alone(corpus: Corpus) -> None:
    keys = {Did(did): key for did, key in corpus.keys.items()}
    did = Did(corpus.commits[10][1]["repo"])
    del keys[did]
    check = CaptureCheck(keys, NOW_US)
    for raw in corpus.frames:
        check.check(raw)
    report = check.report
    count = sum(body["repo"] == did for _, body, _ in corpus.commits)
    assert report.failed == {Reason.NO_KEY: count}
    assert report.verified == 148 - count


class World:
    """Frames of one repo, and a check that knows its key."""

    def __init__(self) -> None:
        self.repo = FakeRepo(seed="capture")
        self.seq = 0
        self.check = CaptureCheck({Did(self.repo.did): PublicKey.parse(self.repo.key.did_key)}, NOW_US)

    def commit(self) -> bytes:
        self.seq += 1
        body = self.repo.write([("create", "a.b.c", f"3k{self.seq}", {"n": self.seq})])
        return frame("#commit", body, self.seq)

    def outcomes(self, *raws: bytes) -> list[str]:
        verdicts = [self.check.check(raw) for raw in raws]
        return [v.reason if isinstance(v, CommitRejected) else type(v).__name__ for v in verdicts]


def test_an_unbroken_chain_is_verified() -> None:
    world = World()
    assert world.outcomes(*(world.commit() for _ in range(5))) == ["Commit"] * 5


def test_a_dropped_frame_is_a_gap_and_the_chain_goes_on_after_it() -> None:
    world = World()
    frames = [world.commit() for _ in range(5)]
    del frames[2]
    assert world.outcomes(*frames) == ["Commit", "Commit", Reason.CHAIN_GAP, "Commit"]
    assert world.check.report.failed == {Reason.CHAIN_GAP: 1}


def test_a_replayed_or_reordered_commit_is_old() -> None:
    world = World()
    a, b, c = (world.commit() for _ in range(3))
    assert world.outcomes(a, b, b, a, c) == ["Commit", "Commit", Reason.OLD_REV, Reason.OLD_REV, "Commit"]


def test_a_since_that_was_changed_on_the_way_is_a_gap() -> None:
    world = World()
    first, second = world.commit(), world.commit()
    got = decode_frame(second)
    assert isinstance(got, Frame)
    forged = frame("#commit", {**got.body, "since": "2222222222222"}, 2)
    assert world.outcomes(first, forged) == ["Commit", Reason.CHAIN_GAP]


def test_a_sync_starts_the_chain_anew() -> None:
    world = World()
    first = world.commit()
    world.commit()
    sync = frame("#sync", world.repo.sync_body(), 3)
    assert world.outcomes(first, sync, sync, world.commit()) == ["Commit", "Sync", "Sync", "Commit"]
    assert world.check.report.sync == 2


def test_all_other_messages_are_counted() -> None:
    world = World()
    frames = [
        world.commit(),
        frame("#identity", world.repo.identity_body(), 2),
        frame("#account", world.repo.account_body(), 3),
        frame("#info", {"name": "OutdatedCursor"}, 0),
        frame("#future", {}, 4),
        frame("#account", {**world.repo.account_body(), "active": "yes"}, 5),
        frame("#commit", {"repo": ["?"]}, 6),
        b"noise",
        error_frame("ConsumerTooSlow"),
    ]
    verdicts = [world.check.check(raw) for raw in frames]
    assert isinstance(verdicts[-1], ErrorFrame)
    report = world.check.report
    assert (report.frames, report.commits, report.verified) == (9, 2, 1)
    assert (report.identity, report.account, report.info, report.error) == (1, 2, 1, 1)
    assert report.failed == {Reason.BAD_SYNTAX: 1, Reason.NO_KEY: 1, Reason.BAD_FRAME: 1}


def test_a_rotated_key_is_a_bad_signature() -> None:
    world = World()
    first = world.commit()
    world.repo.rotate_key("new")
    assert world.repo.key.did_key == SigningKey("new").did_key
    assert world.outcomes(first, world.commit()) == ["Commit", Reason.BAD_SIGNATURE]


def test_a_record_that_is_no_valid_data_is_shown_as_such() -> None:
    world = World()
    body = world.repo.write([("create", "a.b.c", "3k", {"float": 1.5})])
    verdict = world.check.check(frame("#commit", body, 1))
    assert isinstance(verdict, Commit)
    line = record_line(verdict, verdict.ops[0])
    assert line["record"] is None
    assert line["invalid"]
    assert line["cid"] == verdict.ops[0].cid
