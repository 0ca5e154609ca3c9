"""What making and changing tracks needs, as the settings say it: the same for `web` and `worker`."""

from __future__ import annotations

from appview.media.attempt import Place
from appview.media.receive import UploadLimits
from appview.pds import Pds
from bin.settings import Settings
from bin.signing_in import own_origin
from lexicons.catalog import Catalog
from storage.blobs.store import BlobStore
from storage.postgres import Pool

LIMITS = UploadLimits()


def track_place(settings: Settings, catalog: Catalog, pool: Pool, store: BlobStore, pds: Pds) -> Place:
    """Tracks name where people reach us; while that is not known, nobody signs in to make one."""
    return Place(
        pool=pool,
        store=store,
        pds=pds,
        catalog=catalog,
        public_url=own_origin(settings) or f"http://{settings.host}",
        scratch=settings.data_dir / "scratch",
        max_duration_s=LIMITS.max_duration_s,
    )
