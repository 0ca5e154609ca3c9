"""Every setting, in one typed object: a flag, else a `PLYR_*` variable, else the default.

Nothing else reads the environment. Which settings there are is told by noun (`bin/settings_index.py`, `_web`,
`_media`, `_moderation`); `docs/settings.md` is generated from all of them by `bin/settings_page.py`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from bin.addresses import JETSTREAM_PREFIX
from bin.settings_index import Index
from bin.settings_kinds import ROOT as ROOT
from bin.settings_media import Media
from bin.settings_moderation import Moderation
from bin.settings_web import Web

PREFIX = "PLYR_"

# Read by tests and developer commands, not by a running appview.
DEVELOPER_VARIABLES = {
    "PLYR_TEST_DATABASE_URL": "Tests clone their databases in this Postgres (the role must be able to create "
    "databases) instead of starting one of their own.",
    "PLYR_SHARED": "Folder of the interop vectors and the relay corpus. Default: `../shared`.",
    "PLYR_CACHE": "Where the test network is installed. Default: the user's cache folder.",
}

# A secret of one command: never a flag, which other people on the machine can read.
APP_PASSWORD = "PLYR_APP_PASSWORD"
SECRET_VARIABLES = {
    APP_PASSWORD: "App password of the account that publishes our schemas, for `plyr lexicon publish`, or of "
    "our own, for `plyr labeler publish`.",
}


class SettingsError(Exception):
    """A setting is unknown or has a value that it cannot have; the text is one line for a person."""


class Settings(Moderation, Media, Web, Index):
    """What a person may set, of the last base first. Frozen: it is read once, at the start, and passed in."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, defer_build=False
    )

    @property
    def key_file(self) -> Path:
        """Where the encryption keys are if they are not given."""
        return self.data_dir / "keys" / "encryption.keys"

    @property
    def archive_folder(self) -> Path:
        return self.archive_dir or self.data_dir / "archive"

    @property
    def play_folder(self) -> Path:
        return self.archive_folder / "plays"

    @property
    def dump_folder(self) -> Path:
        return self.dump_dir or self.data_dir / "dumps"

    @property
    def blob_folder(self) -> Path:
        return self.blob_dir or self.data_dir / "blobs"

    @property
    def listing_hosts(self) -> tuple[str, ...]:
        """Origins of who is asked for lists of accounts."""
        if self.discovery_hosts:
            return self.discovery_hosts
        relays = [url for url in self.sources if not url.startswith(JETSTREAM_PREFIX)]
        return tuple("http" + url.removeprefix("ws") for url in relays)

    @property
    def service_did(self) -> str:
        """`did:web` of the public address; of the listening address where no public one is given."""
        netloc = urlsplit(self.public_url).netloc if self.public_url else f"localhost:{self.port}"
        return "did:web:" + netloc.replace(":", "%3A")


def variable(field: str) -> str:
    return PREFIX + field.upper()


def flag(field: str) -> str:
    return "--" + field.replace("_", "-")


def load(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from flags (None: not given) over the environment. Raises SettingsError, one clear line."""
    environ = os.environ if environ is None else environ
    known = {variable(name) for name in Settings.model_fields} | {*DEVELOPER_VARIABLES, *SECRET_VARIABLES}
    for name in environ:
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.6)
            raise SettingsError(f"unknown setting {name}" + (f", did you mean {near[0]}?" if near else ""))
    values: dict[str, Any] = {
        name: environ[variable(name)] for name in Settings.model_fields if environ.get(variable(name))
    }
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Settings(**(values | given))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        shown = (flag(name) if name in given else variable(name)) if name else ""
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{shown}: {reason}" if shown else reason) from None


def app_password(environ: Mapping[str, str] | None = None) -> str | None:
    """The secret that `plyr lexicon publish` and `plyr labeler publish` sign in with, where a variable holds
    it."""
    return (os.environ if environ is None else environ).get(APP_PASSWORD) or None


def environment(settings: Settings) -> dict[str, str]:
    """The settings as `PLYR_*` variables, for a child process."""
    out: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            out[variable(name)] = ",".join(value) if isinstance(value, tuple) else str(value)
    return out
