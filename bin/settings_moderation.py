"""Settings of what is judged: by whom, within which time, and who is asked about it."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from bin.settings_kinds import Dids, Service


class Moderation(BaseSettings, defer_build=True):
    moderators: Dids = Field(
        (),
        description="DIDs of the people who may judge cases on the web, separated by commas. Without any, "
        "only the command line does.",
    )
    strikes: int = Field(
        3,
        ge=1,
        le=1000,
        description="How many violations of copyright by one account open a case about the account.",
    )
    notice_days: int = Field(
        3,
        ge=1,
        le=30,
        description="Within how many business days a notice of a claimant is to be decided; `plyr doctor` "
        "tells of later ones.",
    )
    counter_notice_days: int = Field(
        10,
        ge=10,
        le=14,
        description="How many business days after a counter-notice what was taken down comes back, unless "
        "the claimant goes to court.",
    )
    audd_token: SecretStr | None = Field(
        None,
        description="API token of AuDD, which is asked what recordings the sound of tracks is taken for. It "
        "fetches each from us, so a public address is needed, too. Without it our own scanner alone compares "
        "what is here.",
    )
    audd_url: Service = Field(
        "https://enterprise.audd.io", description="Base address of AuDD's enterprise endpoint."
    )
    moderation_key: SecretStr | None = Field(
        None,
        description="Secret that callers of `plyr moderation-service` send as `X-Moderation-Key`. Without "
        "one it is closed.",
    )
    moderation_port: int = Field(
        8083,
        ge=0,
        le=65535,
        description="Port that `plyr moderation-service` listens on. 0 takes a free one.",
    )
