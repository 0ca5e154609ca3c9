"""Every setting, in one typed place: a flag, else a `PLYR_*` variable, else the default.

Nothing else reads the environment. `docs/settings.md` is generated from here by
`bin/settings_page.py`.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bin.addresses import JETSTREAM_PREFIX, origin_of, sound_origin_of, source_of
from lexicons.syntax import is_atproto_did, is_nsid

PREFIX = "PLYR_"
ROOT = Path(__file__).parent.parent

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


class Settings(BaseSettings):
    """What a person may set. Frozen: it is read once, at the start, and passed in."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    database_url: str | None = Field(
        None,
        description="Postgres to use, as `postgresql://user:password@host/name`. Without it plyr runs a "
        "Postgres of its own under the data folder.",
    )
    data_dir: Path = Field(ROOT / "data", description="Folder for everything that plyr keeps on disk.")
    namespace: Literal["fm.plyr", "fm.plyr.stg", "fm.plyr.dev"] = Field(
        "fm.plyr", description="Which records are ours: the start of every NSID that we index and answer."
    )
    old_namespace: str | None = Field(
        None,
        description="How the namespace was called before, such as `app.relay`: whoever has tracks in it may "
        "take them along (`/migration/`). Without it nobody has any.",
    )
    sources: Annotated[tuple[str, ...], NoDecode] = Field(
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
    plc_url: str = Field(
        "https://plc.directory", description="Directory that answers for `did:plc` accounts."
    )
    handle_resolver: str | None = Field(
        None,
        description="Base address of a service that answers `com.atproto.identity.resolveHandle`, for "
        "networks whose handles are not in the public DNS. Without it: DNS and HTTPS, as the protocol says.",
    )
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
    extra_dids: Annotated[tuple[str, ...], NoDecode] = Field(
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
    labelers: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="DIDs of other labelers, separated by commas, whose labels are kept and shown to clients "
        "that ask for them (`atproto-accept-labelers`). `plyr sync run` follows them.",
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
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Addresses or networks of proxies in front of the web server, separated by commas. What "
        "these say in `X-Forwarded-For` is believed, and what they ask for themselves is not counted.",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Whose pages may use the REST routes with a visitor's cookie, as `https://host`, "
        "separated by commas, besides this appview's own.",
    )
    audio_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        ("https://*.plyr.fm",),
        description="Where the sound may be that a record gives the address of (`audioUrl`), besides this "
        "appview: `https://host`, or `https://*.host` for every host below one, separated by commas; `*` is "
        "anywhere. Other addresses are not passed on. A blob is always had from the PDS of its account.",
    )
    admin_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="The operator's secret, for calls that are the operator's alone. Without one these are "
        "closed.",
    )
    archive_dir: Path | None = Field(
        None,
        description="Folder of the event archive, which `plyr replay` computes everything from. Without it: "
        "`archive` in the data folder.",
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
    discovery_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
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
    seal_entries: int = Field(
        100_000, ge=1, le=10_000_000, description="How many new events make a file of the archive."
    )
    seal_minutes: int = Field(
        60,
        ge=1,
        le=10_080,
        description="How long an event waits at most until it is in a file of the archive.",
    )
    dump_dir: Path | None = Field(
        None,
        description="Folder of the public dumps, every record that is shown in one file a day. Without it: "
        "`dumps` in the data folder.",
    )
    dump_hours: float = Field(
        24, ge=0, le=720, description="How often the public dump is written; 0: only by `plyr archive dump`."
    )
    dump_keep: int = Field(7, ge=1, le=10_000, description="How many of those dumps are kept.")
    outbox_hours: int = Field(
        72,
        ge=72,
        le=8760,
        description="How far back subscribers of the live feed can resume; archived events older than that "
        "leave the database.",
    )
    live_subscribers: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="How many may follow the live feed (`sync.subscribe`) of one web process at once.",
    )
    blob_dir: Path | None = Field(
        None,
        description="Folder of audio, images and exports, where no S3 is named. Default: `blobs` in the data "
        "folder.",
    )
    s3_bucket: str | None = Field(
        None,
        description="Bucket of an S3 for audio and images, instead of a folder. It may be open to everybody.",
    )
    s3_private_bucket: str | None = Field(
        None,
        description="Bucket for uploads on their way in, exports and private audio. It must not be open.",
    )
    s3_endpoint: str | None = Field(
        None, description="Address of the S3. Default: the one of AWS for the region."
    )
    s3_region: str = Field("us-east-1", description="Region of the buckets.")
    s3_access_key: str | None = Field(None, description="Key ID that may read, write and list both buckets.")
    s3_secret_key: SecretStr | None = Field(None, description="The secret of that key.")
    media_accel: str | None = Field(
        None,
        description="Internal location of an nginx in front of plyr that is an alias of the blob folder, as "
        "`/blobs/`: it then sends audio and images itself.",
    )
    media_url: str | None = Field(
        None,
        description="Address under which everybody can read the open bucket of the S3, as of a CDN; what was "
        "hidden stays readable there. Without it listeners are sent to signed addresses of the S3.",
    )
    media_link_s: int = Field(
        1800,
        ge=60,
        le=604_800,
        description="How long such a signed address is good, in seconds: so long what was hidden is within "
        "reach of who has one, and so long somebody can listen to it in one go.",
    )
    max_upload_mb: int = Field(
        1536, ge=1, le=1_000_000, description="How large an uploaded sound may be, in MiB."
    )
    max_image_mb: int = Field(20, ge=1, le=20, description="How large an uploaded cover may be, in MiB.")
    max_duration_min: int = Field(
        360, ge=1, le=10_000, description="How long an uploaded sound may be, in minutes."
    )
    blob_grace_hours: float = Field(
        24,
        ge=1,
        le=8760,
        description="How long a blob that nothing needs any more is kept.",
    )
    upload_keep_hours: float = Field(
        24, ge=1, le=720, description="How long an upload that stands still can be taken up again."
    )
    mirror_max_mb: int = Field(
        300,
        ge=1,
        le=100_000,
        description="Largest sound, in MiB, that is fetched from the PDS of somebody who published it with "
        "another app.",
    )
    mirror_account_mb: int = Field(
        10_240,
        ge=0,
        le=100_000_000,
        description="Room, in MiB, for what is fetched so of one account. What is over is left alone.",
    )
    mirror_total_mb: int = Field(
        102_400,
        ge=0,
        le=1_000_000_000,
        description="Room, in MiB, for what is fetched so of all accounts; 0: nothing is fetched.",
    )
    export_keep_days: float = Field(
        7, gt=0, le=30, description="How long a person can fetch the ZIP of their tracks that they asked for."
    )
    transcoder_key: SecretStr | None = Field(
        None,
        description="Secret that callers of `plyr transcoder` send as `X-Transcoder-Key`. It does not start "
        "without one.",
    )
    transcoder_port: int = Field(
        8082, ge=0, le=65535, description="Port that `plyr transcoder` listens on. 0 takes a free one."
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
    light_jobs: int = Field(
        8, ge=1, le=100, description="How many jobs a worker does at once that mostly wait for others."
    )
    heavy_jobs: int = Field(
        2,
        ge=0,
        le=64,
        description="How many jobs a worker does at once that encode sound. One uses all cores by itself, "
        "two keep a short one from waiting for a long one; with 0 they are left to other workers.",
    )
    mirror_jobs: int = Field(
        4,
        ge=0,
        le=100,
        description="How many sounds a worker fetches from other people's PDSs at once; with 0 they are left "
        "to other workers.",
    )
    backlinks_url: str | None = Field(
        None,
        description="Base address of another index of the network's links, which answers as Constellation "
        "does: it is asked how many like our tracks, and `plyr sync status` shows where it differs. Without "
        "it nobody is asked.",
    )
    audd_token: SecretStr | None = Field(
        None,
        description="API token of AuDD, which is asked what recordings the sound of tracks is taken for. It "
        "fetches each from us, so a public address is needed, too. Without it our own scanner alone compares "
        "what is here.",
    )
    audd_url: str = Field(
        "https://enterprise.audd.io", description="Base address of AuDD's enterprise endpoint."
    )
    moderators: Annotated[tuple[str, ...], NoDecode] = Field(
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

    @field_validator(
        "sources",
        "discovery_hosts",
        "extra_dids",
        "moderators",
        "labelers",
        "trusted_proxies",
        "allowed_origins",
        "audio_origins",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

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

    @field_validator("plc_url", "handle_resolver", "backlinks_url", "audd_url")
    @classmethod
    def _check_service(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        origin = origin_of(value, ("http", "https"), "https://plc.directory")
        if origin.startswith("http:") and not info.data.get("dev_loopback"):
            raise ValueError("plain http:// is for test networks, with --dev-loopback")
        return origin

    @field_validator("discovery_hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            origin_of(url, ("http", "https"), "https://relay1.us-east.bsky.network") for url in value
        )

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(origin_of(url, ("http", "https"), "https://plyr.example") for url in value)

    @field_validator("audio_origins")
    @classmethod
    def _check_audio(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(each if each == "*" else sound_origin_of(each) for each in value)

    @field_validator("extra_dids", "moderators", "labelers")
    @classmethod
    def _check_dids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for did in value:
            if not is_atproto_did(did):
                raise ValueError(f"{did!r} is no did:plc or did:web")
        return value

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

    @field_validator("media_accel")
    @classmethod
    def _check_accel(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"/[A-Za-z0-9/_.-]+", value):
            raise ValueError("must be the path of a location, as /blobs/")
        return value

    @field_validator("media_url")
    @classmethod
    def _check_media(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
            raise ValueError("must look like https://media.example")
        return value

    @field_validator("s3_endpoint")
    @classmethod
    def _check_s3(cls, value: str | None) -> str | None:
        return None if value is None else origin_of(value, ("http", "https"), "https://s3.example", ("http",))

    @model_validator(mode="after")
    def _check_buckets(self) -> Self:
        given = {
            "s3_bucket": self.s3_bucket,
            "s3_private_bucket": self.s3_private_bucket,
            "s3_access_key": self.s3_access_key,
            "s3_secret_key": self.s3_secret_key,
        }
        missing = [name for name, value in given.items() if value is None]
        if missing and len(missing) < len(given):
            raise ValueError(f"blobs in S3 need {', '.join(variable(name) for name in missing)}, too")
        if self.s3_bucket is not None and self.s3_bucket == self.s3_private_bucket:
            raise ValueError(f"{variable('s3_private_bucket')} must be another bucket than the open one")
        return self

    @field_validator("old_namespace")
    @classmethod
    def _is_namespace(cls, value: str | None) -> str | None:
        if value is not None and not is_nsid(f"{value}.track"):
            raise ValueError(f"{value!r} is not the beginning of an NSID")
        return value

    @field_validator("data_dir", "archive_dir", "dump_dir", "blob_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

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
