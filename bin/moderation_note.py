"""`plyr moderation note`: a line in the log, which changes nothing."""

from __future__ import annotations

import argparse

from appview.moderation.actions import Action
from bin.moderation_choice import add_subject, decided, decision, said
from bin.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument("note", type=said, metavar="TEXT", help="never shown in public")


def run(args: argparse.Namespace, settings: Settings) -> int:
    return decided(args.subject, settings, lambda subject: decision(Action.NOTE, subject, args.note))
