"""`plyr lexicon COMMAND`: our schemas, as the network sees them."""

from __future__ import annotations

from bin.command import Command

_OF_NETWORK = ("namespace", "plc_url", "handle_resolver", "dev_loopback")

COMMANDS = {
    "publish": Command(
        "bin.lexicon_publish",
        "write our schemas into the account that publishes them",
        True,
        "no",
        _OF_NETWORK,
    ),
    "check": Command(
        "bin.lexicon_check",
        "compare what is published with ours, and say what a change breaks",
        True,
        "no",
        _OF_NETWORK,
    ),
}
