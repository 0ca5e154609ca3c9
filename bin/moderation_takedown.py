"""`plyr moderation takedown`: out of every answer, as a violation."""

from __future__ import annotations

import argparse

from appview.moderation.actions import COPYRIGHT, Action
from bin.moderation_choice import add_note, add_reason, add_subject, decided, decision
from bin.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    add_reason(parser, "spam", COPYRIGHT)
    add_note(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    return decided(
        args.subject, settings, lambda subject: decision(Action.TAKEDOWN, subject, args.note, args.reason)
    )
