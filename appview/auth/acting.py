"""In whose name we may write: from who asks to the session whose grant allows it.

A session or a developer token stands for its own grant. A service's token has none: it says who asks, signed
by their account, and any grant that they gave us will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appview.auth import scopes
from appview.errors import ScopeMissing, SignInNeeded
from appview.viewer import Viewer
from lexicons.syntax import Did
from storage import sessions
from storage.postgres import Connection


@dataclass(frozen=True, slots=True)
class Actor:
    """An account, and the session that speaks for it at its PDS."""

    did: Did
    session: int


async def actor_of(
    conn: Connection, asker: Viewer, wanted: str, definitions: Mapping[str, Mapping[str, Any]]
) -> Actor:
    """Whoever asks, with a grant that covers the scope `wanted`. Raises SignInNeeded, ScopeMissing."""
    held = await sessions.grants(conn, asker.did, asker.session)
    if not held:
        raise SignInNeeded
    for session, scope in held:
        if scopes.covers(scope, wanted, definitions):
            return Actor(asker.did, session)
    raise ScopeMissing
