"""Settings that each are right, and together are not what somebody wants."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from bin.checkup.verdict import Finding, fail, ok, warn
from bin.settings import Settings
from firehose.address import is_loopback_host

SUBJECT = "settings"


def wishes(settings: Settings) -> list[Finding]:
    """What is doubtful about them; one finding that all is well otherwise."""
    return list(_doubts(settings)) or [ok(SUBJECT, f"fit together; data in {settings.data_dir}")]


def is_public(settings: Settings) -> bool:
    """Whether others than this machine are to reach us."""
    return settings.public_url is not None and not is_loopback_host(
        urlsplit(settings.public_url).hostname or ""
    )


def _doubts(settings: Settings) -> Iterator[Finding]:
    public = is_public(settings)
    if public and settings.dev_loopback:
        text = "PLYR_DEV_LOOPBACK is on at a public address: strangers can have us ask this machine"
        yield fail(SUBJECT, text, "unset it")
    if settings.public_url is None and not is_loopback_host(settings.host):
        text = f"others can reach {settings.host}, and nobody can sign in: there is no public address"
        yield warn(SUBJECT, text, "set PLYR_PUBLIC_URL")
    if public and (settings.public_url or "").startswith("http:"):
        text = f"{settings.public_url} is not encrypted, and nobody can sign in there"
        yield fail(SUBJECT, text, "put TLS in front, and https:// into PLYR_PUBLIC_URL")
    for origin in settings.allowed_origins:
        if origin.startswith("http:") and public:
            text = f"{origin} may use people's cookies, and is not encrypted"
            yield warn(SUBJECT, text, "take it out of PLYR_ALLOWED_ORIGINS")
    if public and settings.admin_token is None:
        text = "there is no PLYR_ADMIN_TOKEN: the operator's calls are closed"
        yield warn(SUBJECT, text, "set one, if you need them")
    if settings.database_url is None and public:
        text = "the database is plyr's own, in the data folder"
        yield warn(SUBJECT, text, "back it up by yourself (docs/operations.md), or set PLYR_DATABASE_URL")
