"""The database of a command: the one that the settings name, else the embedded one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from bin.settings import Settings
from storage.embedded import EmbeddedPostgres


class NoDatabase(Exception):
    """There is none in the data folder yet, and a question is no reason to make one."""


@contextlib.contextmanager
def opened(settings: Settings, *, make: bool = True) -> Iterator[Settings]:
    """The settings with `database_url` filled in; an embedded server that we start ends with the block.

    One that another plyr runs on the same data folder is shared. Without `make` one that is not there is
    not made. Raises NoDatabase, EmbeddedFailed.
    """
    if settings.database_url:
        yield settings
        return
    if not make and not os.path.lexists(settings.data_dir / "postgres"):
        raise NoDatabase(
            f"no database in {settings.data_dir.absolute()}: --data-dir or --database-url names another,"
            " plyr up makes one"
        )
    postgres = EmbeddedPostgres(settings.data_dir)
    try:
        yield settings.model_copy(update={"database_url": postgres.start(attach=True)})
    finally:
        postgres.stop()
