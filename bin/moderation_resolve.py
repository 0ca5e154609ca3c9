"""`plyr moderation resolve`: what an open case comes to; a violation stays in sight, with a label."""

from __future__ import annotations

import argparse
from dataclasses import replace

from appview.moderation.actions import COPYRIGHT, Action
from bin.moderation_choice import add_note, add_reason, add_subject, decided, decision
from bin.settings import Settings
from storage.moderation import Resolution


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument("resolution", choices=[str(each) for each in Resolution], help="what it is")
    add_reason(parser, "spam", COPYRIGHT)
    add_note(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    resolution = Resolution(args.resolution)
    return decided(
        args.subject,
        settings,
        lambda subject: replace(
            decision(Action.RESOLVE, subject, args.note, args.reason), resolution=resolution
        ),
    )
