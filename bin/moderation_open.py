"""`plyr moderation open`: has somebody look at a subject."""

from __future__ import annotations

import argparse

from appview.moderation.cases import open_case
from appview.moderation.decisions import Policy
from bin.moderation_choice import OPERATOR, act, add_note, add_reason, add_subject
from bin.settings import Settings
from lexicons.subject import Subject
from storage.moderation import OpenedBy, Proof
from storage.postgres import Connection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    add_reason(parser, "copyright or spam")
    add_note(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    async def do(conn: Connection, subject: Subject, policy: Policy) -> str:
        id = await open_case(
            conn,
            subject,
            OpenedBy.HAND,
            actor=OPERATOR,
            proof=Proof.COMMAND,
            reason=args.reason,
            note=args.note,
        )
        return f"case {id} is open, about {subject.text}"

    return act(args.subject, settings, do)
