"""What the command line knows about a command before it imports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Database = Literal["no", "open", "migrated", "there"]

# The settings of a command that only asks the database; of one that asks the archive, or the blobs, as well.
OF_DATABASE = ("database_url", "data_dir")
OF_ARCHIVE = (*OF_DATABASE, "archive_dir")
OF_BLOBS = (
    *OF_DATABASE,
    "blob_dir",
    "s3_bucket",
    "s3_private_bucket",
    "s3_endpoint",
    "s3_region",
    "s3_access_key",
    "s3_secret_key",
)


@dataclass(frozen=True, slots=True)
class Command:
    """`settings`: takes the flags of bin.settings. `database`: wants one, migrated, before it runs; `there`
    is that, too, and makes none where there was none.

    `shown`: the settings that matter to it, its help names no others; empty: all. `alone`: everything it
    needs is among its arguments, and its `run` takes these alone. `group`: its module has no `run` but
    commands of its own, in `COMMANDS`. `supervised`: `plyr up` may run it.
    """

    module: str
    summary: str
    settings: bool = False
    database: Database = "no"
    shown: tuple[str, ...] = ()
    alone: bool = False
    group: bool = False
    supervised: bool = False
