"""The database of a command: the one that the settings name, else the embedded one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bin.settings import Settings
from storage.embedded import EmbeddedPostgres


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Settings]:
    """The settings with `database_url` filled in; an embedded server that we start ends with the block.

    One that another plyr runs on the same data folder is shared. Raises EmbeddedFailed.
    """
    if settings.database_url:
        yield settings
        return
    postgres = EmbeddedPostgres(settings.data_dir)
    try:
        yield settings.model_copy(update={"database_url": postgres.start(attach=True)})
    finally:
        postgres.stop()
