"""`plyr moderation label`: says something of a subject to the network, by hand."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from appview.moderation.actions import Action
from bin.moderation_choice import add_note, add_subject, decided, decision
from bin.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument("val", metavar="VALUE", help="the label, as sexual")
    parser.add_argument(
        "--hours", type=_hours, metavar="N", help="how long it holds; else until it is taken back"
    )
    add_note(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    exp = None if args.hours is None else datetime.now(UTC) + timedelta(hours=args.hours)
    return decided(
        args.subject,
        settings,
        lambda subject: replace(decision(Action.LABEL, subject, args.note), val=args.val, exp=exp),
    )


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 87_600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours up to ten years")
    return hours
