"""Settings of what is read and kept: the database, where events come from, the archive, the log."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from bin.addresses import origin_of, source_of
from bin.settings_kinds import ROOT, Dids, Folder, Listed, Service
from lexicons.syntax import is_nsid


class Index(BaseSettings, defer_build=True):
    database_url: str | None = Field(
        None,
        description="Postgres to use, as `postgresql://user:password@host/name`. Without it plyr runs a "
        "Postgres of its own under the data folder.",
    )
    data_dir: Folder = Field(ROOT / "data", description="Folder for everything that plyr keeps on disk.")
    namespace: Literal["fm.plyr", "fm.plyr.stg", "fm.plyr.dev"] = Field(
        "fm.plyr", description="Which records are ours: the start of every NSID that we index and answer."
    )
    old_namespace: str | None = Field(
        None,
        description="How the namespace was called before, such as `app.relay`: whoever has tracks in it may "
        "take them along (`/migration/`). Without it nobody has any.",
    )
    sources: Listed = Field(
        ("wss://relay1.us-east.bsky.network",),
        description="Where events come from: one or more WebSocket addresses of relays or PDSs, separated by "
        "commas. `jetstream+` in front of one (`jetstream+wss://host`) names a Jetstream, whose records stay "
        "unverified until their repo was read. `ws://` is for this machine only.",
    )
    start: Literal["live", "oldest"] = Field(
        "live",
        description="Where to begin with a source that was never read before: with what happens now, or with "
        "the oldest event that it still has.",
    )
    rewind_events: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        description="How many events before the stored cursor a connection starts again. Replays change "
        "nothing; they only cost time.",
    )
    dev_loopback: bool = Field(
        False,
        description="Allow outgoing requests to this machine and over plain HTTP. For test networks only: "
        "it opens what guards against addresses that others choose.",
    )
    plc_url: Service = Field(
        "https://plc.directory", description="Directory that answers for `did:plc` accounts."
    )
    handle_resolver: Service | None = Field(
        None,
        description="Base address of a service that answers `com.atproto.identity.resolveHandle`, for "
        "networks whose handles are not in the public DNS. Without it: DNS and HTTPS, as the protocol says.",
    )
    discovery_hosts: Listed = Field(
        (),
        description="Who lists the accounts that have records of ours: base addresses of relays or PDSs, "
        "separated by commas. Without it: the relays and PDSs among the sources.",
    )
    discovery_hours: float = Field(
        6, gt=0, le=720, description="How often those hosts are asked for their lists."
    )
    reconcile_hours: float = Field(
        24,
        gt=0,
        le=720,
        description="How often every account's PDS is asked whether it has what we have.",
    )
    host_requests: int = Field(
        4, ge=1, le=64, description="How many requests one foreign host gets from us at a time."
    )
    archive_dir: Folder | None = Field(
        None,
        description="Folder of the event archive, which `plyr replay` computes everything from. Without it: "
        "`archive` in the data folder.",
    )
    seal_entries: int = Field(
        100_000, ge=1, le=10_000_000, description="How many new events make a file of the archive."
    )
    seal_minutes: int = Field(
        60,
        ge=1,
        le=10_080,
        description="How long an event waits at most until it is in a file of the archive.",
    )
    outbox_hours: int = Field(
        72,
        ge=72,
        le=8760,
        description="How far back subscribers of the live feed can resume; archived events older than that "
        "leave the database.",
    )
    dump_dir: Folder | None = Field(
        None,
        description="Folder of the public dumps, every record that is shown in one file a day. Without it: "
        "`dumps` in the data folder.",
    )
    dump_hours: float = Field(
        24, ge=0, le=720, description="How often the public dump is written; 0: only by `plyr archive dump`."
    )
    dump_keep: int = Field(7, ge=1, le=10_000, description="How many of those dumps are kept.")
    labelers: Dids = Field(
        (),
        description="DIDs of other labelers, separated by commas, whose labels are kept and shown to clients "
        "that ask for them (`atproto-accept-labelers`). `plyr sync run` follows them.",
    )
    backlinks_url: Service | None = Field(
        None,
        description="Base address of another index of the network's links, which answers as Constellation "
        "does: it is asked how many like our tracks, and `plyr sync status` shows where it differs. Without "
        "it nobody is asked.",
    )
    alarm_rejected: int = Field(
        100,
        ge=1,
        description="How many events that could not be applied are an alarm, in `plyr sync status` and as a "
        "metric.",
    )
    log_format: Literal["text", "json"] = Field("text", description="How log lines are written to stderr.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least urgent line to log."
    )

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("needs at least one address, as wss://relay1.us-east.bsky.network")
        origins = tuple(source_of(url) for url in value)
        if len(set(origins)) != len(origins):
            raise ValueError("names an address twice")
        return origins

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in ("postgres", "postgresql"):
            raise ValueError("must look like postgresql://user:password@host/name")
        return value

    @field_validator("discovery_hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            origin_of(url, ("http", "https"), "https://relay1.us-east.bsky.network") for url in value
        )

    @field_validator("old_namespace")
    @classmethod
    def _is_namespace(cls, value: str | None) -> str | None:
        if value is not None and not is_nsid(f"{value}.track"):
            raise ValueError(f"{value!r} is not the beginning of an NSID")
        return value
