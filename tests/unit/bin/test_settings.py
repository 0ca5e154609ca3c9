from __future__ import annotations

import tomllib
from typing import Any

import pytest

from bin import VERSION
from bin.settings import ROOT, Settings, SettingsError, environment, load, variable
from bin.settings_page import reference


def test_the_reference_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == reference(), "run `make docs`"


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_version_is_the_projects() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default() -> None:
    assert load({}, {}).port == 8000
    assert load({"port": None}, {"PLYR_PORT": "9000"}).port == 9000
    assert load({"port": "9001"}, {"PLYR_PORT": "9000"}).port == 9001


def test_an_empty_variable_is_not_given() -> None:
    assert load({}, {"PLYR_PORT": ""}).port == 8000


def test_a_jetstream_is_named_by_a_prefix() -> None:
    settings = load(environ={"PLYR_SOURCES": "wss://relay.example,jetstream+wss://jet.example/"})
    assert settings.sources == ("wss://relay.example", "jetstream+wss://jet.example")


def test_sources_are_separated_by_commas() -> None:
    settings = load({}, {"PLYR_SOURCES": "wss://one.example, wss://two.example:444/"})
    assert settings.sources == ("wss://one.example", "wss://two.example:444")


def test_settings_survive_the_way_through_the_environment() -> None:
    settings = load(
        {
            "sources": "ws://localhost:1,wss://two.example",
            "dev_loopback": True,
            "plc_url": "http://localhost:2",
            "trusted_proxies": "10.0.0.0/8, 192.0.2.1",
            "admin_token": "a secret of the operator",
        },
        {},
    )
    assert load({}, environment(settings)) == settings


def test_a_secret_is_not_in_the_settings_text() -> None:
    settings = load({}, {"PLYR_ADMIN_TOKEN": "a secret of the operator"})
    assert "operator" not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    ("public_url", "did"),
    [
        (None, "did:web:localhost%3A8000"),
        ("https://plyr.example", "did:web:plyr.example"),
        ("http://localhost:8123", "did:web:localhost%3A8123"),
    ],
)
def test_the_service_did_follows_the_public_address(public_url: str | None, did: str) -> None:
    assert load({"public_url": public_url}, {}).service_did == did


def test_an_unknown_variable_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(
        SettingsError, match=r"unknown setting PLYR_DATABSE_URL, did you mean PLYR_DATABASE_URL\?"
    ):
        load({}, {"PLYR_DATABSE_URL": "x"})


def test_variables_of_others_are_left_alone() -> None:
    assert load({}, {"PLYRICS": "x", "DATABASE_URL": "y"}) == load({}, {})


BAD: list[tuple[str, str, str]] = [
    ("port", "http", "integer"),
    ("port", "70000", "65535"),
    ("namespace", "fm.plry", "fm.plyr"),
    ("sources", "https://relay.example", "must look like wss://"),
    ("sources", "wss://relay.example/xrpc/com.atproto.sync.subscribeRepos", "scheme, host and port alone"),
    ("sources", "ws://relay.example", "for this machine alone"),
    ("sources", "wss://a.example,wss://a.example", "twice"),
    ("sources", "wss://a.example,wss://a.example/", "twice"),
    ("sources", "jetstream+ws://relay.example", "for this machine alone"),
    ("sources", "jetstream+wss://a.example,jetstream+wss://a.example", "twice"),
    ("sources", ",", "at least one"),
    ("sources", "wss://a.example:port", "no address"),
    ("sources", "wss://[1", "no address"),
    ("database_url", "mysql://x", "postgresql://"),
    ("plc_url", "ftp://x", "must look like"),
    ("plc_url", "http://plc.example", "for this machine alone"),
    ("plc_url", "http://localhost:1", "--dev-loopback"),
    ("handle_resolver", "https://x.example/path", "scheme, host and port alone"),
    ("public_url", "https://user:secret@x.example", "scheme, host and port alone"),
    ("start", "newest", "'live' or 'oldest'"),
    ("rewind_events", "-1", "0"),
    ("dev_loopback", "perhaps", "boolean"),
    ("log_format", "xml", "'text' or 'json'"),
    ("extra_dids", "did:key:z6Mk", "did:plc or did:web"),
    ("moderators", "did:plc:ewvi7nxzyoun6zhxrhs64oiz,ann.example", "did:plc or did:web"),
    ("strikes", "0", "1"),
    ("counter_notice_days", "9", "10"),
    ("counter_notice_days", "15", "14"),
    ("trusted_proxies", "10.0.0.0/33", "no address or network"),
    ("trusted_proxies", "10.0.0.1/8", "no address or network"),
    ("trusted_proxies", ",", "at least one"),
    ("allowed_origins", "https://plyr.example/app", "scheme, host and port alone"),
    ("allowed_origins", "*", "must look like"),
    ("audio_origins", "https://audio.example/a", "scheme, host and port alone"),
    ("audio_origins", "http://audio.example", "for this machine alone"),
    ("audio_origins", "http://*.localhost", "must look like"),
    ("audio_origins", "https://*.audio.example:8443", "must look like"),
    ("audio_origins", "https://*.example.*.org", "must look like"),
    ("audio_origins", "*.example", "must look like"),
    ("audio_origins", "https://*", "must look like"),
    ("admin_token", "short", "16"),
    ("rate_limit", "-1", "0"),
    ("log_level", "loud", "'debug'"),
]


@pytest.mark.parametrize(("name", "value", "says"), BAD)
def test_a_value_that_cannot_be_is_one_line_that_names_the_setting(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({}, {variable(name): value})
    line = str(refused.value)
    assert line.startswith(variable(name))
    assert says in line
    assert "\n" not in line


def test_a_wrong_flag_is_named_as_a_flag() -> None:
    given: dict[str, Any] = {"log_format": "xml"}
    with pytest.raises(SettingsError, match=r"^--log-format: "):
        load(given, {})


def test_encryption_keys_are_checked_and_never_shown() -> None:
    one, two = "A" * 43 + "=", "b" * 43 + "="
    settings = load({}, {"PLYR_ENCRYPTION_KEYS": f"{one}, {two}"})
    assert settings.encryption_keys == (one, two)
    assert one not in repr(settings)
    assert load({}, environment(settings)) == settings
    with pytest.raises(SettingsError, match="key 2 is not what") as raised:
        load({}, {"PLYR_ENCRYPTION_KEYS": f"{one},a-secret"})
    assert "a-secret" not in str(raised.value)


def test_sound_may_be_at_origins_below_hosts_or_anywhere() -> None:
    assert load({}, {}).audio_origins == ("https://*.plyr.fm",)
    given = "https://audio.example/, https://*.audio.example,http://localhost:9000,*"
    there = ("https://audio.example", "https://*.audio.example", "http://localhost:9000", "*")
    assert load({}, {"PLYR_AUDIO_ORIGINS": given}).audio_origins == there


def test_a_frontend_without_https_is_on_this_machine() -> None:
    assert load({}, {"PLYR_FRONTEND_URL": "http://localhost:5173/"}).frontend_url == "http://localhost:5173"
    with pytest.raises(SettingsError):
        load({}, {"PLYR_FRONTEND_URL": "http://plyr.example"})


def test_an_s3_is_named_whole_and_its_buckets_differ() -> None:
    given = {"s3_bucket": "open", "s3_private_bucket": "closed", "s3_access_key": "a", "s3_secret_key": "b"}
    assert load(given, {}).s3_bucket == "open"
    for name in given:
        with pytest.raises(SettingsError, match=f"need {variable(name)}"):
            load({key: value for key, value in given.items() if key != name}, {})
    with pytest.raises(SettingsError, match="another bucket"):
        load(given | {"s3_private_bucket": "open"}, {})
