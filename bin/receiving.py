"""What the settings say about uploads."""

from __future__ import annotations

from appview.media.receive import MIB, UploadLimits
from bin.settings import Settings


def upload_limits(settings: Settings) -> UploadLimits:
    """For who takes uploads, and for who makes tracks of them."""
    return UploadLimits(
        max_bytes=settings.max_upload_mb * MIB,
        max_image_bytes=settings.max_image_mb * MIB,
        max_duration_s=settings.max_duration_min * 60,
    )
