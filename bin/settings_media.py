"""Settings of sound and pictures: where they lie, what comes in, who works on them."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from bin.addresses import origin_of
from bin.settings_kinds import Folder


class Media(BaseSettings, defer_build=True):
    blob_dir: Folder | None = Field(
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
    transcoder_key: SecretStr | None = Field(
        None,
        description="Secret that callers of `plyr transcoder` send as `X-Transcoder-Key`. It does not start "
        "without one.",
    )
    transcoder_port: int = Field(
        8082, ge=0, le=65535, description="Port that `plyr transcoder` listens on. 0 takes a free one."
    )

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
            raise ValueError(f"blobs in S3 need {', '.join(f'PLYR_{name.upper()}' for name in missing)}, too")
        if self.s3_bucket is not None and self.s3_bucket == self.s3_private_bucket:
            raise ValueError("PLYR_S3_PRIVATE_BUCKET must be another bucket than the open one")
        return self
