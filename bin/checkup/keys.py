"""The keys that seal what people trust us with."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from appview.auth import reseal
from appview.auth.keyring import GivenKeys, KeyFile, KeyRing, KeyRingError
from bin.checkup.verdict import Finding, fail, ok, skipped, warn
from bin.settings import Settings
from storage.postgres import Connection

SUBJECT = "keys"


def key_file(path: Path) -> Finding | None:
    """What is wrong with the file; None: nothing."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return skipped(SUBJECT, f"{path} is not there yet: it is made at the first start")
    if stat.S_IMODE(found.st_mode) & 0o077:
        return fail(SUBJECT, f"others on this machine can read {path}", f"chmod 600 {path}")
    if found.st_uid != os.geteuid():
        return warn(SUBJECT, f"{path} belongs to another user", "chown it to the user that runs plyr")
    return None


async def keys(settings: Settings, conn: Connection) -> list[Finding]:
    """Whether they are there, ours alone, and open what is sealed."""
    given = settings.encryption_keys
    wrong = None if given else key_file(settings.key_file)
    if wrong is not None and wrong.todo is not None:
        return [wrong]
    try:
        # The file is not made here.
        texts = given or (() if wrong else KeyFile(settings.key_file).read())
        ring = KeyRing(GivenKeys(texts)) if texts else None
    except KeyRingError as error:
        return [fail(SUBJECT, str(error), "restore the keys from their copy")]
    if ring is None:
        sealed = await reseal.count(conn)
        if not sealed:
            return [wrong or skipped(SUBJECT, "there is none yet")]
        text = f"there is no key for what is sealed: {sealed:,}"
        return [fail(SUBJECT, text, f"restore {settings.key_file} from its copy before plyr starts")]
    return [verdict(ring.names, await reseal.count_by_key(conn, ring))]


def verdict(names: tuple[str, ...], counts: Mapping[str | None, int]) -> Finding:
    """`names` of the keys, the newest first, and how many secrets each seals; None: no key opens them."""
    if counts.get(None):
        text = f"no key opens {counts[None]:,} of what is sealed: their owners must sign in again"
        return fail(SUBJECT, text, "add the key that is missing, if there is a copy (plyr keys list)")
    old = sum(counts.get(name, 0) for name in names[1:])
    if old:
        return warn(SUBJECT, f"older keys still seal {old:,}", "plyr keys rotate, or have it end")
    if names[1:]:
        text = f"{len(names) - 1} older keys seal nothing any more"
        return warn(SUBJECT, text, "plyr keys forget, or take them out of PLYR_ENCRYPTION_KEYS")
    return ok(SUBJECT, f"one, {names[0]}, seals {counts.get(names[0], 0):,}")
