"""`plyr verify` as a person or a script runs it: on the real capture, on damaged ones, on a repo."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bin import verify
from firehose.capture import CaptureWriter
from tests.corpus import read_corpus
from tests.fakenet.repo import FakeRepo, frame

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; gives its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser("plyr verify")
        verify.add_arguments(parser)
        code = verify.run(parser.parse_args([str(argument) for argument in arguments]))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def folder(shared: Path) -> Path:
    return shared / "data" / "relay-2026-07-04"


def test_the_real_capture_gives_the_expected_counts_and_records(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    out_file = tmp_path / "records.jsonl"
    code, out, err = run(
        folder / "frames.bin.zst", "--did-docs", folder / "did_docs.json.zst", "--json", "--records", out_file
    )
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert answer.pop("seconds") > 0
    expected = {"frames": 150, "commits": 148, "verified": 148, "failed": {}, "identity": 1, "account": 1}
    assert answer == {**expected, "sync": 0, "info": 0, "error": 0}
    lines = [json.loads(line) for line in out_file.read_text().splitlines()]
    assert lines == read_corpus(folder.parent.parent).expected()


def test_people_get_a_summary(run: Run, folder: Path) -> None:
    code, out, _ = run(folder / "frames.bin.zst", "--did-docs", folder / "did_docs.json.zst")
    assert code == 0
    assert "148 of 148 commits verified" in out


@pytest.mark.parametrize("share", [0.4, 0.7, 0.99])
def test_a_cut_file_is_reported_as_far_as_it_was_whole(
    run: Run, folder: Path, tmp_path: Path, share: float
) -> None:
    data = (folder / "frames.bin.zst").read_bytes()
    cut = tmp_path / "cut.zst"
    cut.write_bytes(data[: int(len(data) * share)])
    code, out, err = run(cut, "--did-docs", folder / "did_docs.json.zst", "--json")
    answer = json.loads(out)
    assert code == 1
    assert 0 < answer["frames"] < 150
    assert answer["verified"] == answer["commits"]
    assert "ends inside" in answer["damage"]
    assert f"{answer['frames']} frames came before that" in err


def test_a_corrupt_file_is_told_from_a_cut_one(run: Run, folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zst"
    data = (folder / "frames.bin.zst").read_bytes()
    broken.write_bytes(data[:300_000] + b"\xff" * 1000 + data[301_000:])
    code, _, err = run(broken, "--did-docs", folder / "did_docs.json.zst")
    assert code == 1
    assert "impossible length" in err or "damaged" in err
    assert "ends inside" not in err


def capture(path: Path, frames: list[bytes]) -> Path:
    with CaptureWriter(path.open("wb")) as writer:
        for each in frames:
            writer.write(each)
    return path


@pytest.mark.parametrize("as_list", [True, False])
def test_what_is_refused_is_counted_and_told(run: Run, tmp_path: Path, as_list: bool) -> None:
    repo = FakeRepo(seed=1)
    bodies = [repo.write([("create", "a.b.c", f"3k{n}", {"n": n})]) for n in range(20)]
    frames = [frame("#commit", body, n) for n, body in enumerate(bodies)]
    frames[3:5] = []
    frames += [b"noise"] * 15
    docs: Any = repo.did_doc("https://pds.example.com")
    (tmp_path / "docs.json").write_text(json.dumps([docs] if as_list else {repo.did: docs}))
    code, out, err = run(capture(tmp_path / "c.zst", frames), "--did-docs", tmp_path / "docs.json", "--json")
    assert code == 1
    assert json.loads(out)["failed"] == {"chain_gap": 1, "bad_frame": 15}
    assert "frame 4: chain_gap" in err
    assert "and 6 more" in err
    code, out, _ = run(tmp_path / "c.zst", "--did-docs", tmp_path / "docs.json")
    assert "refused 15 × bad_frame" in out


def test_the_real_repo_is_listed_exactly(run: Run, folder: Path) -> None:
    code, out, err = run("--car", folder / "repo.car")
    assert code == 0
    assert out == (folder / "car_expected_records.tsv").read_text()
    for line in (folder / "car_expected_commit.txt").read_text().splitlines()[1:3]:
        assert line.split(": ")[1] in err
    assert "not checked" in err


def test_a_repos_signature_is_checked_when_its_key_is_given(run: Run, tmp_path: Path) -> None:
    repo, thief = FakeRepo(seed=1), FakeRepo(seed=2)
    repo.write([("create", "a.b.c", "3k", {"n": 1})])
    (tmp_path / "repo.car").write_bytes(repo.car())
    document = repo.did_doc("https://pds.example.com")
    (tmp_path / "docs.json").write_text(json.dumps({repo.did: document}))
    records = tmp_path / "records.jsonl"
    code, out, _ = run(
        "--car", tmp_path / "repo.car", "--did-docs", tmp_path / "docs.json", "--json", "--records", records
    )
    assert code == 0
    assert json.loads(out)["signature"] == f"by {repo.key.did_key}"
    assert json.loads(records.read_text())["rkey"] == "3k"
    document["verificationMethod"][0]["publicKeyMultibase"] = thief.key.multibase
    (tmp_path / "docs.json").write_text(json.dumps({repo.did: document}))
    code, _, err = run("--car", tmp_path / "repo.car", "--did-docs", tmp_path / "docs.json")
    assert code == 1
    assert "bad_signature" in err


def test_a_cut_repo_is_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.car").write_bytes((folder / "repo.car").read_bytes()[:4000])
    code, out, err = run("--car", tmp_path / "cut.car")
    assert (code, out) == (1, "")
    assert "bad_car" in err


def test_what_cannot_be_checked_is_one_clear_line(run: Run, folder: Path, tmp_path: Path) -> None:
    docs = folder / "did_docs.json.zst"
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "odd.json").write_text("5")
    (tmp_path / "odder.json").write_text("[5]")
    (tmp_path / "none.json").write_text("{}")
    frames = folder / "frames.bin.zst"
    cases: list[tuple[tuple[object, ...], str]] = [
        ((), "name a capture file"),
        ((frames, "--car", folder / "repo.car"), "name a capture file"),
        ((frames,), "--did-docs"),
        ((tmp_path / "absent", "--did-docs", docs), "No such file"),
        ((frames, "--did-docs", tmp_path / "absent"), "No such file"),
        ((frames, "--did-docs", tmp_path), "Is a directory"),
        ((frames, "--did-docs", tmp_path / "bad.json"), "not JSON"),
        ((frames, "--did-docs", tmp_path / "odd.json"), "neither"),
        ((frames, "--did-docs", tmp_path / "odder.json"), "no DID document"),
        ((frames, "--did-docs", docs, "--records", tmp_path / "no" / "where"), "cannot write"),
        (("--car", folder / "repo.car", "--did-docs", tmp_path / "none.json"), "no signing key"),
    ]
    for arguments, told in cases:
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), arguments
        assert told in err
        assert err.splitlines()[-1].startswith("plyr verify: ")
