"""`plyr sync COMMAND`: what makes the index whole, and tells how whole it is."""

from __future__ import annotations

from bin.command import Command

COMMANDS = {
    "run": Command(
        "bin.sync_run", "find accounts and read their repos, until stopped", True, "migrated", supervised=True
    ),
}
