"""`plyr moderation notice`: somebody claims a subject; a case is open until that is decided."""

from __future__ import annotations

import argparse

from appview.moderation import notices
from appview.moderation.decisions import Policy
from appview.moderation.notices import Claim
from bin.moderation_choice import OPERATOR, act, add_subject, said
from bin.settings import Settings
from lexicons.subject import Subject
from storage import moderation as rows
from storage.moderation import Proof
from storage.postgres import Connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument(
        "--claimant", type=said, required=True, metavar="TEXT", help="who claims it, and how they are reached"
    )
    parser.add_argument("--statement", type=said, required=True, metavar="TEXT", help="what they say")


def run(args: argparse.Namespace, settings: Settings) -> int:
    async def do(conn: Connection, subject: Subject, policy: Policy) -> str:
        claim = Claim(subject, args.claimant, args.statement)
        id = await notices.receive(conn, claim, policy, actor=OPERATOR, proof=Proof.COMMAND)
        (notice,) = [each for each in await rows.notices(conn, subject.text) if each.id == id]
        return f"notice {id}, case {notice.case_id}: to be decided by {notice.due:%Y-%m-%d %H:%M} UTC"

    return act(args.subject, settings, do)
