"""`plyr moderation delist`: a track in no listing, and still where it is asked for."""

from __future__ import annotations

import argparse

from appview.moderation.actions import OTHER, Action
from bin.moderation_choice import add_note, add_reason, add_subject, decided, decision
from bin.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    add_reason(parser, "sexual", OTHER)
    add_note(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    return decided(
        args.subject, settings, lambda subject: decision(Action.DELIST, subject, args.note, args.reason)
    )
