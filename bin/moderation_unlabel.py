"""`plyr moderation unlabel`: takes back what was said by hand."""

from __future__ import annotations

import argparse
from dataclasses import replace

from appview.moderation.actions import Action
from bin.moderation_choice import add_note, add_subject, decided, decision
from bin.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument("val", metavar="VALUE", help="the label, as sexual")
    add_note(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    return decided(
        args.subject,
        settings,
        lambda subject: replace(decision(Action.UNLABEL, subject, args.note), val=args.val),
    )
