"""`plyr moderation` as a person types it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from bin.cli import main
from bin.moderation import COMMANDS
from storage import moderation as rows
from tests.integration.moderation.judging import LABEL, RKEYS, SRC, Bench

Told = tuple[int, str, str]
Run = Callable[..., Awaitable[Told]]


@pytest.fixture
def run(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, and what was said."""

    async def told(*words: str, public_url: str | None = "https://plyr.test") -> Told:
        settings = ("--database-url", bench.dsn, "--data-dir", str(tmp_path))
        settings += ("--public-url", public_url) if public_url else ()
        capsys.readouterr()
        try:
            code = await asyncio.to_thread(main, ["moderation", *words, *settings])
        except SystemExit as error:
            code = int(str(error.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return told


@pytest.fixture
async def song(bench: Bench) -> str:
    (uri,) = await bench.publish(RKEYS[0])
    return uri


async def test_a_case_is_listed_shown_decided_appealed_and_restored(
    bench: Bench, song: str, run: Run
) -> None:
    assert await run("cases") == (0, "There is no such case.\n", "")
    await bench.flag(song)
    code, out, _ = await run("cases")
    assert code == 0
    assert all(word in out for word in ("scan", "copyright", "open", song))
    code, out, _ = await run("takedown", "1", "--note", "heard it")
    assert (code, out.splitlines()) == (
        0,
        [
            f"takedown of {song}, case 1: violation",
            f"Said {LABEL}, as {SRC}.",
            f"{bench.ann.did} has 1 violation of copyright.",
        ],
    )
    assert not await bench.is_shown(song)
    assert await run("cases") == (0, "There is no such case.\n", "")
    assert (await run("appeal", song, "--note", "it is mine"))[0] == 0
    code, out, _ = await run("show", song)
    assert all(word in out for word in ("copyright", LABEL, "open since", '"it is mine"', '"heard it"'))
    code, out, _ = await run("restore", song, "--resolution", "original_artist")
    assert out.splitlines() == [
        f"restore of {song}, case 1: original_artist",
        f"Took back {LABEL}, as {SRC}.",
    ]
    assert await bench.is_shown(song)
    code, out, _ = await run("cases", "--state", "resolved", "--json")
    assert orjson.loads(out)["resolution"] == "original_artist"
    code, out, _ = await run("show", "1", "--json")
    shown = orjson.loads(out)
    assert (shown["down"], shown["labels"], shown["strikes"]) == (None, [], 0)
    assert [event["action"] for event in shown["events"]] == ["restore", "appeal", "takedown", "open"]
    assert {event["actor"] for event in shown["events"]} == {"operator", "plyr"}


async def test_a_track_is_unlisted_and_listed_again(bench: Bench, song: str, run: Run) -> None:
    assert await run("delist", song, "--reason", "sexual") == (0, f"delist of {song}\n", "")
    _, out, _ = await run("show", song)
    assert "  unlisted sexual" in out.splitlines()
    assert await run("delist", song) == (1, "", "plyr: it is unlisted already\n")
    assert await run("relist", song, "--note", "fine") == (0, f"relist of {song}\n", "")
    assert "unlisted" not in (await run("show", song))[1].splitlines()[1]


async def test_what_may_not_be_done_ends_with_one_and_says_why(bench: Bench, song: str, run: Run) -> None:
    for words, why in {
        ("resolve", song, "violation"): "there is no case, and resolve needs one that is open",
        ("restore", song): "nothing stands against it that could be taken back",
        ("takedown", "did:plc:nobody"): "did:plc:nobody is not known here, so there is nothing to take down",
        ("takedown", "17"): "there is no case 17",
        ("show", "17"): "there is no case 17",
        ("appeal", song, "--note", "x"): "there is no case, and appeal needs one",
        ("suit", song): "no notice is countered: there is none about it",
        ("label", song, LABEL): f"{LABEL} follows a resolution: use resolve, takedown or restore",
        ("unlabel", song, "sexual"): "label sexual does not hold",
    }.items():
        assert await run(*words) == (1, "", f"plyr: {why}\n")
    assert await bench.rows("select count(*) from moderation_event") == [(0,)]


async def test_what_is_typed_wrong_ends_with_two(bench: Bench, run: Run) -> None:
    for words, why in {
        ("show", "ann"): "is no DID, no at:// URI of a record, and no DID/CID of a blob",
        ("takedown", "https://plyr.fm"): "is no DID",
        ("takedown", "1", "--reason", "Not Nice"): "is no code of small letters",
        ("resolve", "1", "guilty"): "invalid choice: 'guilty'",
        ("restore", "1", "--resolution", "violation"): "invalid choice: 'violation'",
        ("note", "1", " "): "must have 1 to 10,000 characters",
        ("label", "1", "x", "--hours", "-1"): "is not a number of hours",
        ("notice", "1"): "--claimant, --statement",
    }.items():
        code, out, error = await run(*words)
        assert (code, out) == (2, "")
        assert why in error
        assert error.count("\n") == 1


async def test_notices_come_in_are_answered_and_end_in_court(bench: Bench, song: str, run: Run) -> None:
    code, out, _ = await run("notice", song, "--claimant", "Rights Ltd", "--statement", "ours")
    assert code == 0
    assert out.startswith("notice 1, case 1: to be decided by ")
    assert (await run("takedown", song))[0] == 0
    code, out, _ = await run("counter-notice", song, "--statement", "mine")
    assert (code, out.startswith(f"{song} comes back at ")) == (0, True)
    code, out, _ = await run("suit", song, "--note", "No. 17")
    assert (code, out) == (0, f"{song} stays down until somebody restores it\n")
    code, out, _ = await run("show", song)
    assert "1: sued; of Rights Ltd: ours" in out
    assert "answered: mine" in out


async def test_a_case_is_opened_noted_and_resolved_by_hand_and_a_label_has_an_end(
    bench: Bench, song: str, run: Run
) -> None:
    assert await run("open", song, "--reason", "spam") == (0, f"case 1 is open, about {song}\n", "")
    assert await run("note", "1", "wait") == (0, f"note of {song}, case 1\n", "")
    assert (await run("resolve", "1", "violation"))[1] == f"resolve of {song}, case 1: violation\n"
    assert await bench.labels(song) == []  # nothing is said of spam
    assert await rows.strikes(bench.conn, bench.ann.did) == 0
    assert (await run("label", song, "sexual", "--hours", "1"))[0] == 0
    assert await bench.labels(song) == ["sexual"]
    assert await bench.rows("select exp::timestamptz > now() + interval '59 min' from label") == [(True,)]
    assert (await run("unlabel", song, "sexual"))[0] == 0
    assert await bench.labels(song) == []


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_has_help(command: str, run: Run) -> None:
    code, out, _ = await run(command, "--help")
    assert code == 0
    assert f"plyr moderation {command}" in out
    assert COMMANDS[command].summary[1:] in " ".join(out.split())


async def test_who_forgets_the_public_address_is_told_and_labels_as_nobody_else_where_others_are_known(
    bench: Bench, song: str, run: Run
) -> None:
    here = "did:web:localhost%3A8000"
    code, out, _ = await run("label", song, "sexual", public_url=None)
    assert (code, out.splitlines()[1]) == (
        0,
        f"Said sexual, as {here}, whom nobody elsewhere can look up: set PLYR_PUBLIC_URL.",
    )
    assert (await run("label", song, "porn"))[:1] == (0,)
    for words in (("label", song, "nudity"), ("unlabel", song, "porn"), ("takedown", song)):
        assert await run(*words, public_url=None) == (
            1,
            "",
            f"plyr: labels are said as {SRC} here: set PLYR_PUBLIC_URL, without it we are {here}\n",
        )
    assert await bench.is_shown(song)
