"""`plyr token COMMAND`: tokens that need no browser."""

from __future__ import annotations

from bin.command import OF_DATABASE, Command

COMMANDS = {
    "mint": Command(
        "bin.token_mint", "print a token for an account, for tests and CI", True, "migrated", OF_DATABASE
    ),
}
