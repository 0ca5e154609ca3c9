"""`plyr moderation restore`: as it was before, in every answer; what was said against it is taken back."""

from __future__ import annotations

import argparse
from dataclasses import replace

from appview.moderation.actions import Action
from bin.moderation_choice import add_note, add_subject, decided, decision
from bin.settings import Settings
from storage.moderation import Resolution

CHOICES = [str(each) for each in Resolution if each is not Resolution.VIOLATION]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument(
        "--resolution",
        choices=CHOICES,
        default=str(Resolution.NO_ACTION),
        help="what its cases end as instead of a violation [no_action]",
    )
    add_note(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    resolution = Resolution(args.resolution)
    return decided(
        args.subject,
        settings,
        lambda subject: replace(decision(Action.RESTORE, subject, args.note), resolution=resolution),
    )
