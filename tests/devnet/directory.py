"""A did:plc of a service's own, entered into the network's directory.

did = await register_service(net.plc_url, "plyr_appview", "PlyrAppView", "http://localhost:8000")
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import aiohttp
import libipld

from tests.fakenet.repo import SigningKey
from tests.fakenet.tokens import b64


async def register_service(plc_url: str, name: str, kind: str, endpoint: str) -> str:
    """The DID of a new identity whose document names this service (did:plc's genesis operation)."""
    key = SigningKey(f"rotation key of {endpoint}")
    operation: dict[str, Any] = {
        "type": "plc_operation",
        "rotationKeys": [key.did_key],
        "verificationMethods": {},
        "alsoKnownAs": [],
        "services": {name: {"type": kind, "endpoint": endpoint}},
        "prev": None,
    }
    operation["sig"] = b64(key.sign(libipld.encode_dag_cbor(operation)))
    digest = hashlib.sha256(libipld.encode_dag_cbor(operation)).digest()
    did = "did:plc:" + base64.b32encode(digest).decode().lower()[:24]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{plc_url}/{did}", json=operation) as answer,
    ):
        assert answer.status == 200, await answer.text()
    return did
