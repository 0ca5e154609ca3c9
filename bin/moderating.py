"""Builds from the settings what decisions follow, and where we are at home who tell of them."""

from __future__ import annotations

from appview.auth.keyring import KeyRing
from appview.moderation.decisions import Policy
from appview.moderation.labels import Labels
from appview.service import Home
from bin.settings import Settings
from bin.signing_in import key_ring
from lexicons.catalog import Catalog
from lexicons.syntax import Did


def home(settings: Settings) -> Home | None:
    """Where a repo of our DID is; None: nowhere."""
    if settings.service_pds is None or settings.service_signing_key is None:
        return None
    return Home(settings.service_pds, settings.service_signing_key)


def policy(
    settings: Settings, catalog: Catalog, ring: KeyRing | None = None, *, for_others: bool = False
) -> Policy:
    """Labels are said as the service, where it has a DID: one whose port is not chosen yet has none, and
    `for_others`, who take them elsewhere, one without a public address has none either."""
    labels = None
    if settings.public_url or (settings.port and not for_others):
        labels = Labels(ring or key_ring(settings), Did(settings.service_did))
    return Policy(
        catalog,
        labels,
        strikes=settings.strikes,
        notice_days=settings.notice_days,
        counter_days=settings.counter_notice_days,
    )
