"""Builds what decisions follow from the settings."""

from __future__ import annotations

from appview.auth.keyring import KeyRing
from appview.moderation.decisions import Policy
from appview.moderation.labels import Labels
from bin.settings import Settings
from bin.signing_in import key_ring
from lexicons.catalog import Catalog
from lexicons.syntax import Did


def policy(settings: Settings, catalog: Catalog, ring: KeyRing | None = None) -> Policy:
    """Labels are said as the service, where it has a DID: one whose port is not chosen yet has none."""
    labels = None
    if settings.port or settings.public_url:
        labels = Labels(ring or key_ring(settings), Did(settings.service_did))
    return Policy(
        catalog,
        labels,
        strikes=settings.strikes,
        notice_days=settings.notice_days,
        counter_days=settings.counter_notice_days,
    )
