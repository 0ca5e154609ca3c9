"""`plyr lexicon check --against`, whom DNS names, and where a password may stand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import lexicons
from bin.cli import main
from bin.lexicon_check import authorities
from bin.lexicon_publish import NoPassword, dns_lines, password
from bin.settings import APP_PASSWORD, Settings, app_password, environment, load
from firehose.dns import Dns
from firehose.schema_account import PublishFailed
from lexicons.syntax import Did, Nsid
from tests.fakenet.dns import FakeDns

DID = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz")


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Our schemas as they may have been, to be changed."""
    folder = tmp_path / "lexicons"
    shutil.copytree(lexicons.__path__[0], folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], str]:
    code = main(["lexicon", "check", "--against", str(folder)])
    said = capsys.readouterr()
    return code, said.out.splitlines(), said.err


def edit(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / "fm" / "plyr" / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


def test_a_folder_like_ours_is_no_drift(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, _ = checked(older, capsys)
    assert (code, len(lines)) == (0, 1)
    assert lines[0].endswith(" schemas: 0 differ, 0 changes break somebody")


def test_what_breaks_ends_with_1_and_is_named(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(older, "track.json", '"maxLength": 5000', '"maxLength": 6000')
    code, lines, _ = checked(older, capsys)
    assert code == 1
    assert lines[:2] == [
        "fm.plyr.track  changed",
        "  breaks main.description: maxLength was 6000, is 5000",
    ]
    assert lines[2].endswith(" schemas: 1 differ, 1 changes break somebody")


def test_new_schemas_and_harmless_changes_end_with_0(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (older / "fm" / "plyr" / "like.json").unlink()
    edit(older, "track.json", "Name of the track.", "Its name.")
    code, lines, _ = checked(older, capsys)
    assert (code, lines[:2]) == (0, ["fm.plyr.like  new", "fm.plyr.track  changed"])


def test_a_schema_that_went_ends_with_1(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = {"lexicon": 1, "id": "fm.plyr.gone", "defs": {"main": {"type": "token"}}}
    (older / "fm" / "plyr" / "gone.json").write_text(json.dumps(gone))
    code, lines, _ = checked(older, capsys)
    assert (code, lines[0]) == (1, "fm.plyr.gone  gone: others may still use it")


def test_a_folder_without_schemas_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, said = checked(tmp_path / "typo", capsys)
    assert (code, lines) == (1, [])
    assert said == f"plyr: no schemas of fm.plyr below {tmp_path}/typo\n"


async def test_dns_says_whose_each_group_is() -> None:
    async with FakeDns() as names:
        names.records["_lexicon.plyr.fm", "TXT"] = [f"did={DID}"]
        names.records["_lexicon.feed.plyr.fm", "TXT"] = ["v=spf1 -all"]
        dns = Dns(names.resolver())
        asked = ["_lexicon.plyr.fm", "_lexicon.feed.plyr.fm", "_lexicon.sync.plyr.fm"]
        assert await authorities(dns, asked) == dict(zip(asked, [DID, None, None], strict=True))


async def test_dns_that_fails_is_no_answer() -> None:
    async with FakeDns() as names:
        names.failing.add("_lexicon.plyr.fm")
        with pytest.raises(PublishFailed, match="--account"):
            await authorities(Dns(names.resolver(), lifetime_s=1), ["_lexicon.plyr.fm"])


def test_dns_lines_are_those_of_a_zone_file() -> None:
    names = [Nsid("fm.plyr.feed.getTrack"), Nsid("fm.plyr.track"), Nsid("fm.plyr.like")]
    assert dns_lines(names, DID) == [
        f'_lexicon.plyr.fm. 3600 IN TXT "did={DID}"',
        f'_lexicon.feed.plyr.fm. 3600 IN TXT "did={DID}"',
    ]


def test_a_password_comes_from_a_file_or_a_variable_and_no_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("abcd-efgh\n")
    monkeypatch.setenv(APP_PASSWORD, "from-variable")
    assert password(file, DID) == "abcd-efgh"
    assert password(None, DID) == app_password() == "from-variable"
    assert "from-variable" not in environment(load({})).values()
    assert "app_password" not in Settings.model_fields


def test_without_a_password_a_line_says_where_one_may_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(APP_PASSWORD, raising=False)
    with pytest.raises(NoPassword, match="--password-file"):
        password(None, DID)
    with pytest.raises(NoPassword, match="No such file"):
        password(tmp_path / "none", DID)
    (tmp_path / "empty").touch()
    with pytest.raises(NoPassword, match="is empty"):
        password(tmp_path / "empty", DID)
