"""`plyr moderation COMMAND`: what is judged, from the command line."""

from __future__ import annotations

from bin.command import OF_DATABASE, Command

COMMANDS = {
    "scan": Command(
        "bin.moderation_scan",
        "scan the sound of tracks for the recordings of others",
        True,
        "there",
        (*OF_DATABASE, "audd_token", "audd_url", "public_url", "namespace", "dev_loopback"),
    ),
}
