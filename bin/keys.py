"""`plyr keys COMMAND`: the keys that seal what plyr keeps for people, and those that it signs with."""

from __future__ import annotations

from bin.command import OF_DATABASE, Command

_SHOWN = (*OF_DATABASE, "encryption_keys")

COMMANDS = {
    "list": Command(
        "bin.keys_list", "which keys there are, and what each of them seals", True, "there", _SHOWN
    ),
    "new": Command("bin.keys_new", "print a new encryption key", alone=True),
    "rotate": Command(
        "bin.keys_rotate", "seal everything anew with a new key, also while plyr runs", True, "there", _SHOWN
    ),
    "forget": Command(
        "bin.keys_forget", "drop every key but the newest, once nothing needs them", True, "there", _SHOWN
    ),
}
