"""`plyr moderation counter-notice`: who made it objects to a notice, and has it back in time."""

from __future__ import annotations

import argparse

from appview.moderation import notices
from appview.moderation.decisions import Policy
from bin.moderation_choice import OPERATOR, act, add_subject, said
from bin.settings import Settings
from lexicons.subject import Subject
from storage.moderation import Proof
from storage.postgres import Connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument("--statement", type=said, required=True, metavar="TEXT", help="what they say")


def run(args: argparse.Namespace, settings: Settings) -> int:
    async def do(conn: Connection, subject: Subject, policy: Policy) -> str:
        due = await notices.counter(
            conn, subject, args.statement, policy, actor=OPERATOR, proof=Proof.COMMAND
        )
        return f"{subject.text} comes back at {due:%Y-%m-%d %H:%M} UTC, unless the claimant goes to court"

    return act(args.subject, settings, do)
