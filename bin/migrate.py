"""`plyr migrate`: brings the database to this version's tables, and says what it did."""

from __future__ import annotations

import argparse
import asyncio

from bin.settings import Settings
from storage.migrate import migrate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes settings alone


def run(args: argparse.Namespace, settings: Settings) -> int:
    del args
    assert settings.database_url
    applied = asyncio.run(migrate(settings.database_url))
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("nothing to do, the database is at the newest migration")
    return 0
