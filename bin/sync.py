"""`plyr sync COMMAND`: what makes the index whole, and tells how whole it is."""

from __future__ import annotations

from bin.command import Command

COMMANDS = {
    "run": Command(
        "bin.sync_run", "find accounts and read their repos, until stopped", True, "migrated", supervised=True
    ),
    "status": Command("bin.sync_status", "how whole the index is, and what is amiss", True, "migrated"),
    "reconcile": Command(
        "bin.sync_reconcile", "compare what we hold with what the PDSs say, now", True, "migrated"
    ),
    "explain": Command("bin.sync_explain", "why a repo or record looks as it does", True, "migrated"),
    "rejected": Command(
        "bin.sync_rejected", "look at, retry or drop what could not be applied", True, "migrated"
    ),
}
