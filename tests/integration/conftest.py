from __future__ import annotations

from tests.s3.fixtures import swift, swift_packages

__all__ = ["swift", "swift_packages"]
