"""`plyr moderation COMMAND`: what is judged, from the command line."""

from __future__ import annotations

from bin.command import OF_DATABASE, Command

_DECIDING = (
    *OF_DATABASE,
    "namespace",
    "public_url",
    "port",
    "encryption_keys",
    "strikes",
    "notice_days",
    "counter_notice_days",
)


def _deciding(module: str, summary: str) -> Command:
    return Command(f"bin.moderation_{module}", summary, True, "there", _DECIDING)


COMMANDS = {
    "scan": Command(
        "bin.moderation_scan",
        "scan the sound of tracks for the recordings of others",
        True,
        "there",
        (*OF_DATABASE, "audd_token", "audd_url", "public_url", "namespace", "dev_loopback"),
    ),
    "cases": Command("bin.moderation_cases", "list what has to be looked at", True, "there", OF_DATABASE),
    "show": Command(
        "bin.moderation_show",
        "tell everything about a case or a subject",
        True,
        "there",
        (*OF_DATABASE, "public_url", "port"),
    ),
    "open": _deciding("open", "have somebody look at a subject"),
    "note": _deciding("note", "write a line into the log of a subject"),
    "resolve": _deciding("resolve", "say what an open case comes to; a violation is told by a label"),
    "takedown": _deciding(
        "takedown", "take an account, a record or bytes of an account out of every answer, as a violation"
    ),
    "restore": _deciding("restore", "bring it back, and take back what was said against it"),
    "delist": _deciding("delist", "list a track nowhere; who asks for it still has it"),
    "relist": _deciding("relist", "list a track again"),
    "label": _deciding("label", "say something of a subject to the network"),
    "unlabel": _deciding("unlabel", "take such a label back"),
    "notice": _deciding("notice", "somebody claims a subject: open a case, with a time to decide it in"),
    "counter-notice": _deciding("counter", "answer the notices about a subject, which comes back in time"),
    "suit": _deciding("suit", "the claimant went to court about a counter-notice: it stays down"),
    "appeal": _deciding("appeal", "open a resolved case again"),
}
