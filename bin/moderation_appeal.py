"""`plyr moderation appeal`: somebody objects, and the case of the subject is open again."""

from __future__ import annotations

import argparse

from appview.moderation.actions import Action
from bin.moderation_choice import add_subject, decided, decision, said
from bin.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument("--note", type=said, required=True, metavar="TEXT", help="what they say")


def run(args: argparse.Namespace, settings: Settings) -> int:
    return decided(args.subject, settings, lambda subject: decision(Action.APPEAL, subject, args.note))
