"""`plyr sync COMMAND`: what makes the index whole, and tells how whole it is."""

from __future__ import annotations

from bin.command import OF_DATABASE, Command

COMMANDS = {
    "run": Command(
        "bin.sync_run", "find accounts and read their repos, until stopped", True, "migrated", supervised=True
    ),
    "status": Command(
        "bin.sync_status",
        "how whole the index is, and what is amiss",
        True,
        "there",
        (*OF_DATABASE, "seal_minutes", "alarm_rejected"),
    ),
    "explain": Command(
        "bin.sync_explain", "why a repo or record looks as it does", True, "there", OF_DATABASE
    ),
    "reconcile": Command(
        "bin.sync_reconcile",
        "compare what we hold with what the PDSs say, now",
        True,
        "there",
        (*OF_DATABASE, "plc_url", "handle_resolver", "dev_loopback"),
    ),
    "rejected": Command(
        "bin.sync_rejected", "look at, retry or drop what could not be applied", True, "there", OF_DATABASE
    ),
}
