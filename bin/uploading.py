"""What taking uploads and making tracks of them needs, as the settings say: for `web` and `worker` alike."""

from __future__ import annotations

from appview.media.attempt import Place
from appview.media.receive import MIB, UploadLimits
from appview.pds import Pds
from appview.sound_origins import SoundOrigins
from bin.kinds import job_queue
from bin.settings import Settings
from bin.signing_in import own_origin
from lexicons.catalog import Catalog
from storage.blobs.store import BlobStore
from storage.postgres import Pool


def sound_origins(settings: Settings) -> SoundOrigins:
    """Where the sound of other people's records may be."""
    own = own_origin(settings)
    return SoundOrigins(
        settings.audio_origins, own=[own] if own else [], allow_loopback=settings.dev_loopback
    )


def upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_bytes=settings.max_upload_mb * MIB,
        max_image_bytes=settings.max_image_mb * MIB,
        max_duration_s=settings.max_duration_min * 60,
    )


def track_place(settings: Settings, catalog: Catalog, pool: Pool, store: BlobStore, pds: Pds) -> Place:
    """Tracks name where people reach us; while that is not known, nobody signs in to make one."""
    return Place(
        pool=pool,
        store=store,
        queue=job_queue(),
        pds=pds,
        catalog=catalog,
        public_url=own_origin(settings) or f"http://{settings.host}",
        scratch=settings.data_dir / "scratch",
        max_duration_s=upload_limits(settings).max_duration_s,
    )
