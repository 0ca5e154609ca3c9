"""`plyr keys new`: prints a key for PLYR_ENCRYPTION_KEYS."""

from __future__ import annotations

import argparse

from appview.auth.keyring import new_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # takes nothing


def run(args: argparse.Namespace) -> int:
    del args
    print(new_key())
    return 0
