from __future__ import annotations

from tests.devnet.fixtures import _devnet_when_marked, devnet_packages, net
from tests.s3.fixtures import swift, swift_packages

__all__ = ["_devnet_when_marked", "devnet_packages", "net", "swift", "swift_packages"]
