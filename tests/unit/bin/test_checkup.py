"""What each look of `plyr doctor` makes of what it sees."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from bin.checkup import cases, database, disks, keys, network, scans, tables, work
from bin.checkup.clocks import by_header, clock
from bin.checkup.verdict import Check, Finding, Verdict, examine, fail, ok, warn
from bin.checkup.wishes import wishes
from bin.doctor import lines
from bin.settings import load
from indexer.alarms import Alarm, Thresholds
from storage.health import Cursor
from storage.images import Undrawable
from storage.migrate import Migration
from storage.moderation import Waiting
from storage.vitals import HOT, TUNED, Table

ONE, TWO, THREE = (Migration(number, f"m{number}", f"create table t{number} ()") for number in (1, 2, 3))
NOW = 1_795_000_000.0


def verdicts(findings: Sequence[Finding]) -> list[str]:
    return [str(each.verdict) for each in findings]


def says_what_to_do(findings: Sequence[Finding]) -> bool:
    return all((each.todo is not None) == (each.verdict in ("warn", "fail")) for each in findings)


def test_a_check_that_raises_or_hangs_is_told_and_keeps_no_other_waiting() -> None:
    asleep = threading.Event()

    async def well() -> list[Finding]:
        return [ok("well", "fine")]

    async def broken() -> list[Finding]:
        raise RuntimeError("no such thing\nand more")

    async def waiting() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def stuck() -> list[Finding]:
        asleep.wait()  # as a disk that is gone: nothing can be cancelled
        return []

    looks = {"well": well, "broken": broken, "waiting": waiting, "stuck": stuck}
    found = examine([Check(name, look) for name, look in looks.items()], 0.3)
    assert not asleep.is_set()
    asleep.set()
    assert [(each.subject, str(each.verdict)) for each in found] == [
        ("well", "ok"), ("broken", "fail"), ("waiting", "fail"), ("stuck", "fail"),
    ]  # fmt: skip
    assert found[1].text == "could not be looked at: RuntimeError: no such thing"
    assert found[2].text == found[3].text == "gave no answer within 0.3 s"
    assert says_what_to_do(found)


def test_each_finding_is_a_line_and_the_last_one_counts_them() -> None:
    found = [ok("disk", "room"), warn("tables", "dead", "vacuum"), fail("keys", "open", "chmod")]
    assert list(lines(found)) == [
        "ok    disk       room",
        "warn  tables     dead → vacuum",
        "fail  keys       open → chmod",
        "",
        "1 failed, 1 to look at, 1 well.",
    ]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ["ok"]),
        ({"PLYR_HOST": "0.0.0.0"}, ["warn"]),
        ({"PLYR_PUBLIC_URL": "http://localhost:8000", "PLYR_DEV_LOOPBACK": "1"}, ["ok"]),
        ({"PLYR_PUBLIC_URL": "https://plyr.example"}, ["warn", "warn"]),
        ({"PLYR_PUBLIC_URL": "https://plyr.example", "PLYR_DEV_LOOPBACK": "1"}, ["fail", "warn", "warn"]),
        ({"PLYR_PUBLIC_URL": "http://plyr.example"}, ["fail", "warn", "warn"]),
        (
            {
                "PLYR_PUBLIC_URL": "https://plyr.example",
                "PLYR_DATABASE_URL": "postgresql://db.example/plyr",
                "PLYR_ADMIN_TOKEN": "a secret of the operator",
            },
            ["ok"],
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_told(variables: dict[str, str], expected: list[str]) -> None:
    found = wishes(load({}, variables))
    assert verdicts(found) == expected
    assert says_what_to_do(found)


@pytest.mark.parametrize(
    ("ahead_s", "blur_s", "verdict"),
    [
        (0.2, 0, "ok"), (-2.9, 0, "ok"), (4, 2, "ok"), (4, 0, "warn"), (-29, 0, "warn"), (31, 0, "fail"),
        (-90, 1, "fail"),
    ],
)  # fmt: skip
def test_a_clock_is_off_by_more_than_may_be_an_error(ahead_s: float, blur_s: float, verdict: str) -> None:
    found = clock("clocks", "somebody", ahead_s, blur_s)
    assert found.verdict == verdict
    assert says_what_to_do([found])
    if verdict != "ok":
        assert ("ahead of" in found.text) == (ahead_s > 0)


def test_the_date_of_an_answer_is_a_clock() -> None:
    def told(date: str | None, took_s: float = 0.1) -> str | None:
        found = by_header("clocks", "relay", date, NOW, NOW + took_s)
        return None if found is None else str(found.verdict)

    assert told(formatdate(NOW, usegmt=True)) == "ok"
    assert told(formatdate(NOW + 10, usegmt=True)) == "warn"
    assert told(formatdate(NOW + 10, usegmt=True), took_s=16) == "ok"
    assert told(formatdate(NOW - 3600)) == "fail"
    for date in (None, "", "yesterday", "Sun, 99 Nov 2026 01:00:00 GMT"):
        assert told(date) is None


def test_migrations_are_all_there_as_our_files() -> None:
    def noted(*migrations: Migration) -> dict[int, tuple[str, str]]:
        return {each.version: (each.name, each.checksum) for each in migrations}

    def told(applied: dict[int, tuple[str, str]]) -> tuple[str, str]:
        found = database.ledger([ONE, TWO, THREE], applied)
        assert says_what_to_do([found])
        return str(found.verdict), found.text

    assert told(noted(ONE, TWO, THREE))[0] == "ok"
    assert told(noted(ONE)) == ("fail", "2 migrations are to do, from 0002_m2 on")
    assert told({}) == ("fail", "3 migrations are to do, from 0001_m1 on")
    verdict, text = told(noted(ONE, THREE))
    assert (verdict, "0002_m2" in text) == ("fail", True)
    verdict, text = told(noted(ONE, TWO) | {3: ("m3", "other")})
    assert (verdict, "was edited" in text) == ("fail", True)
    verdict, text = told(noted(ONE, TWO, THREE, Migration(4, "m4", "")))
    assert (verdict, "this plyr knows 3" in text) == ("fail", True)


def table(name: str, **about: Any) -> Table:
    usual: dict[str, Any] = {
        "live": 100_000, "dead": 900, "bytes": 20 << 20, "expected_bytes": 15 << 20, "vacuumed_s": 60.0,
        "tuned": name in TUNED, "off": False,
    }  # fmt: skip
    return Table(name, **usual | about)


@pytest.mark.parametrize(
    ("about", "verdict", "text"),
    [
        ({}, "ok", "10 that are written all the time"),
        ({"dead": 19_000}, "ok", ""),
        ({"dead": 30_000}, "warn", "30,000 of 130,000 rows of queue are dead"),
        ({"dead": 30_000, "vacuumed_s": None}, "warn", "vacuumed never"),
        ({"live": 10, "dead": 4000}, "ok", ""),
        ({"bytes": 900 << 20}, "warn", "takes 900 MiB for rows of some 15 MiB"),
        ({"bytes": 900 << 20, "expected_bytes": None}, "ok", ""),
        ({"live": 3, "expected_bytes": 900, "bytes": 60 << 20}, "ok", ""),
        ({"tuned": False}, "warn", "has lost its autovacuum settings"),
        ({"off": True}, "fail", "never vacuumed"),
    ],
)
def test_a_hot_table_is_vacuumed(about: dict[str, Any], verdict: str, text: str) -> None:
    found = tables.verdicts([table(name, **about if name == "queue" else {}) for name in HOT])
    assert verdicts(found) == [verdict]
    assert text in found[0].text
    assert says_what_to_do(found)


def test_a_hot_table_is_there() -> None:
    found = tables.verdicts([table(name) for name in HOT if name != "job"])
    assert [(str(each.verdict), each.text) for each in found] == [("fail", "job is not there")]


@pytest.mark.parametrize(("free", "verdict"), [(9 << 30, "ok"), (5 << 30, "warn"), (1 << 29, "fail")])
def test_a_disk_has_room(free: int, verdict: str) -> None:
    found = disks.verdict(Path("/data"), free, 6 << 30)
    assert found.verdict == verdict
    assert says_what_to_do([found])


def test_the_cursor_of_each_source_is_new() -> None:
    read = [
        Cursor("wss://one.example/xrpc/com.atproto.sync.subscribeRepos", 7, 3.0),
        Cursor("wss://jet.example/subscribe", 9, 500.0),
        Cursor("wss://three.example.org/xrpc/com.atproto.sync.subscribeRepos", 1, 1.0),
    ]
    wanted = ["wss://one.example", "jetstream+wss://jet.example", "wss://three.example"]
    found = network.cursors(wanted, read, Thresholds())
    assert verdicts(found) == ["ok", "warn", "warn"]
    assert found[2].text == "wss://three.example was never read"
    assert says_what_to_do(found)


def test_of_several_sources_one_is_enough() -> None:
    gone = fail("source", "gone", "look")
    assert verdicts(network.one_is_enough([gone, gone])) == ["fail", "fail"]
    others = [ok("source", "there"), fail("disk", "full", "make room")]
    assert verdicts(network.one_is_enough([gone, *others])) == ["warn", "ok", "fail"]


def test_schemas_may_be_published_by_nobody_but_not_by_half() -> None:
    assert network.lexicons({"_lexicon.a": None, "_lexicon.b": None}).verdict is Verdict.SKIPPED
    assert network.lexicons({"_lexicon.a": "did:plc:a", "_lexicon.b": "did:plc:a"}).verdict is Verdict.OK
    half = network.lexicons({"_lexicon.a": "did:plc:a", "_lexicon.b": None})
    assert (half.verdict, "_lexicon.b" in half.text) == (Verdict.WARN, True)
    assert network.lexicons({"_lexicon.a": "did:plc:a", "_lexicon.b": "did:plc:b"}).verdict is Verdict.WARN


def test_keys_are_ours_alone_and_open_everything() -> None:
    assert keys.verdict(("new",), {"new": 3}).verdict is Verdict.OK
    assert keys.verdict(("new", "old"), {"new": 3}).verdict is Verdict.WARN
    older = keys.verdict(("new", "old"), {"new": 3, "old": 2})
    assert (older.verdict, older.text) == (Verdict.WARN, "older keys still seal 2")
    assert keys.verdict(("new",), {None: 1, "new": 3}).verdict is Verdict.FAIL


def test_a_key_file_is_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "encryption.keys"
    found = keys.key_file(path)
    assert found is not None
    assert found.verdict is Verdict.SKIPPED
    path.write_text("")
    path.chmod(0o600)
    assert keys.key_file(path) is None
    path.chmod(0o640)
    found = keys.key_file(path)
    assert found is not None
    assert (found.verdict, found.todo) == (Verdict.FAIL, f"chmod 600 {path}")


def test_alarms_and_pictures_are_told_with_what_to_do() -> None:
    assert verdicts(work.told([])) == ["ok"]
    found = work.told([Alarm("jobs_late", "3 jobs wait", "plyr jobs list")])
    assert [(each.text, each.todo) for each in found] == [("jobs_late: 3 jobs wait", "plyr jobs list")]
    assert verdicts(work.renditions(0, [])) == ["ok"]
    found = work.renditions(12, [Undrawable("ab", "it is broken")])
    assert verdicts(found) == ["warn", "warn"]
    assert found[0].text.startswith("12 lack a rendition")
    assert "1,000 or more" in work.renditions(1000, [])[0].text
    assert says_what_to_do(found)


def test_cases_are_told_of_and_late_notices_are_something_to_do() -> None:
    since = datetime(2026, 11, 29, tzinfo=UTC)
    assert cases.told(Waiting(0, None, 0)) == ok("cases", "none is open")
    assert cases.told(Waiting(7, since, 0)) == ok("cases", "7 open, the oldest since 2026-11-29")
    late = cases.told(Waiting(7, since, 2))
    assert (verdicts([late]), says_what_to_do([late])) == (["warn"], True)
    assert "2 notices are decided late" in late.text


def test_scans_are_told_of_while_there_is_something_to_do_about_them() -> None:
    counts = {"ok": 7, "pending": 2, "false_positive": 1}
    off = "PLYR_AUDD_TOKEN is not set"
    assert scans.told(off, counts, datetime(2026, 11, 29, tzinfo=UTC)) == [
        ok("scans", f"10 known, 2 flagged that nobody looked at; AuDD is not asked: {off}")
    ]
    assert scans.told(None, counts, None) == [ok("scans", "10 known, 2 flagged that nobody looked at")]
    found = scans.told(None, counts | {"error": 3}, datetime(2026, 11, 29, 12, 30, tzinfo=UTC))
    assert verdicts(found) == ["warn", "warn"]
    assert says_what_to_do(found)
    assert "asked again at 2026-11-29 12:30 UTC" in found[0].text
    assert "3 have no verdict yet" in found[1].text
