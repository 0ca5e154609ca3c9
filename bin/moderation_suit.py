"""`plyr moderation suit`: the claimant went to court, so a counter-notice brings nothing back."""

from __future__ import annotations

import argparse

from appview.moderation import notices
from appview.moderation.decisions import Policy
from bin.moderation_choice import OPERATOR, act, add_note, add_subject
from bin.settings import Settings
from lexicons.subject import Subject
from storage.moderation import Proof
from storage.postgres import Connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    add_note(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    async def do(conn: Connection, subject: Subject, policy: Policy) -> str:
        await notices.sue(conn, subject, args.note, actor=OPERATOR, proof=Proof.COMMAND)
        return f"{subject.text} stays down until somebody restores it"

    return act(args.subject, settings, do)
