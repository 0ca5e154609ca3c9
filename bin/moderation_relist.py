"""`plyr moderation relist`: a track in every listing that it belongs to."""

from __future__ import annotations

import argparse

from appview.moderation.actions import Action
from bin.moderation_choice import add_note, add_subject, decided, decision
from bin.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    add_note(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    return decided(args.subject, settings, lambda subject: decision(Action.RELIST, subject, args.note))
