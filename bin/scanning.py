"""Builds what scans sound, or says why AuDD does not."""

from __future__ import annotations

from appview.moderation.audd import Audd
from appview.moderation.cases import for_flagged
from appview.moderation.scanning import Scanner
from appview.moderation.variants import Variants
from bin.settings import Settings
from bin.signing_in import own_origin
from firehose.net import GuardedClient
from lexicons.syntax import Nsid
from storage.blobs.store import BlobStore
from storage.postgres import Pool


def off(settings: Settings) -> str | None:
    """Why AuDD is not asked, in a few words; None: it is."""
    if settings.audd_token is None:
        return "PLYR_AUDD_TOKEN is not set"
    # On a test network AuDD is a process of this machine, too.
    if settings.public_url is None and not (settings.dev_loopback and own_origin(settings)):
        return "PLYR_PUBLIC_URL is not set, and AuDD could not fetch a sound"
    return None


def scanner(settings: Settings, pool: Pool, http: GuardedClient, store: BlobStore, track: Nsid) -> Scanner:
    """AuDD fetches what is published where everybody finds it; what is flagged is a case about a `track`."""
    why, origin, token = off(settings), own_origin(settings), settings.audd_token
    audd = None
    if why is None and token is not None:
        audd = Audd(http, settings.audd_url, token.get_secret_value())
    return Scanner(
        pool,
        audd,
        lambda sha256: f"{origin}/audio/{sha256}",
        Variants(store, settings.data_dir / "scratch"),
        off=f"AuDD is not asked: {why}",
        on_flag=for_flagged(track),
    )
