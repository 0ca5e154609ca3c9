"""Settings of those who answer: where, as whom, to which pages, and how much."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from bin.addresses import origin_of, sound_origin_of
from bin.settings_kinds import Dids, Listed


class Web(BaseSettings, defer_build=True):
    host: str = Field(
        "127.0.0.1", description="Address that the web server listens on. `0.0.0.0` is everywhere."
    )
    port: int = Field(
        8000, ge=0, le=65535, description="Port that the web server listens on; 0 takes a free one."
    )
    public_url: str | None = Field(
        None,
        description="Address under which others reach this appview, as `https://host`. It gives the "
        "service its DID (`did:web:host`).",
    )
    extra_dids: Dids = Field(
        (),
        description="Other DIDs under which this appview is known, separated by commas: a `did:plc` whose "
        "document names it as `#plyr_appview`. Tokens for them are taken like those for the `did:web`.",
    )
    service_pds: str | None = Field(
        None,
        description="PDS that keeps a repo under the DID of this service, as `https://host`: our DID "
        "document names it then. `plyr labeler publish` writes there which labels we give.",
    )
    service_signing_key: str | None = Field(
        None, description="Public key that signs that repo, as `did:key:z…`; its PDS tells it."
    )
    frontend_url: str | None = Field(
        None,
        description="Address of a web frontend, as `https://host`, to which people are sent once they have "
        "signed in. Without it they stay on plyr's own pages.",
    )
    encryption_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        repr=False,
        description="Keys for what people who sign in trust us with, separated by commas, the newest first; "
        "`plyr keys new` prints one. Give them as a variable: everybody on a machine sees flags. Without "
        "them: a file in the data folder, made at the first start.",
    )
    admin_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="The operator's secret, for calls that are the operator's alone. Without one these are "
        "closed.",
    )
    trusted_proxies: Listed = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Addresses or networks of proxies in front of the web server, separated by commas. What "
        "these say in `X-Forwarded-For` is believed, and what they ask for themselves is not counted.",
    )
    allowed_origins: Listed = Field(
        (),
        description="Whose pages may use the REST routes with a visitor's cookie, as `https://host`, "
        "separated by commas, besides this appview's own.",
    )
    audio_origins: Listed = Field(
        ("https://*.plyr.fm",),
        description="Where the sound may be that a record gives the address of (`audioUrl`), besides this "
        "appview: `https://host`, or `https://*.host` for every host below one, separated by commas; `*` is "
        "anywhere. Other addresses are not passed on. A blob is always had from the PDS of its account.",
    )
    rate_limit: int = Field(
        3000,
        ge=0,
        le=1_000_000_000,
        description="How many requests an account, or an address without one, has in each window; 0 counts "
        "nobody. Each web process counts for itself.",
    )
    rate_window_s: int = Field(300, ge=1, le=86_400, description="How long such a window is, in seconds.")
    plays_per_address: int = Field(
        10,
        ge=0,
        le=1_000_000,
        description="How many plays of one track count at once from one address, of listeners without an "
        "account; after that as many in each length of the track. 0 counts any number.",
    )
    reports_per_hour: int = Field(
        30,
        ge=1,
        le=1_000_000,
        description="How much an account may report (`com.atproto.moderation.createReport`) in an hour. Each "
        "web process counts for itself.",
    )
    live_subscribers: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="How many may follow the live feed (`sync.subscribe`) of one web process at once.",
    )

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(origin_of(url, ("http", "https"), "https://plyr.example") for url in value)

    @field_validator("audio_origins")
    @classmethod
    def _check_audio(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(each if each == "*" else sound_origin_of(each) for each in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("needs at least one; 192.0.2.0 is nobody's")
        for network in value:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"{network!r} is no address or network: {error}") from None
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public(cls, value: str | None) -> str | None:
        return (
            None if value is None else origin_of(value, ("http", "https"), "https://plyr.example", ("http",))
        )

    @field_validator("service_pds")
    @classmethod
    def _check_pds(cls, value: str | None) -> str | None:
        return None if value is None else origin_of(value, ("http", "https"), "https://pds.example")

    @field_validator("service_signing_key")
    @classmethod
    def _check_signing_key(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"did:key:z[1-9A-HJ-NP-Za-km-z]{40,60}", value):
            raise ValueError("must look like did:key:z…, as the PDS of the repo tells it")
        return value

    @model_validator(mode="after")
    def _check_repo(self) -> Self:
        if (self.service_pds is None) != (self.service_signing_key is None):
            raise ValueError(
                "PLYR_SERVICE_PDS and PLYR_SERVICE_SIGNING_KEY are given together, or neither is"
            )
        return self

    @field_validator("frontend_url")
    @classmethod
    def _check_frontend(cls, value: str | None) -> str | None:
        return None if value is None else origin_of(value, ("http", "https"), "https://plyr.example")

    @field_validator("encryption_keys", mode="before")
    @classmethod
    def _check_keys(cls, value: object) -> object:
        keys = value.replace(" ", "").split(",") if isinstance(value, str) else value
        for number, key in enumerate(keys if isinstance(keys, list) else (), 1):
            if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", key):
                raise ValueError(f"key {number} is not what `plyr keys new` prints")
        return tuple(keys) if isinstance(keys, list) else keys
