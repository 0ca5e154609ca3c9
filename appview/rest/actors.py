"""Who may write records of a collection in somebody's name, of those who ask over REST."""

from __future__ import annotations

from aiohttp import web

from appview.auth.acting import Actor, actor_of
from appview.auth.desk import Desk
from appview.errors import ScopeMissing, SignInNeeded
from appview.media.attempt import Place
from appview.records import Away, NotSignedIn, Swapped, WriteFailed
from appview.rest.answers import Refused
from appview.viewer import Viewer
from lexicons.syntax import Did, Nsid


class Actors:
    def __init__(self, desk: Desk, place: Place) -> None:
        self.desk = desk
        self._place = place

    async def who(self, request: web.Request) -> Did:
        """Whoever asks, though nothing may be written in their name. Raises Refused 401."""
        return Did((await self.desk.asking(request)).session.did)

    async def of(self, request: web.Request, *collections: Nsid) -> Actor:
        """Raises Refused 401 and 403."""
        session = (await self.desk.asking(request)).session
        wanted = " ".join(f"repo:{collection}" for collection in collections)
        asker = Viewer(session.did, None, session.id)
        try:
            async with self._place.pool.connection() as conn:
                return await actor_of(conn, asker, wanted, self._place.catalog.definitions)
        except ScopeMissing:
            raise Refused(403, "scope_upgrade_required") from None
        except SignInNeeded:
            raise Refused(403, "this token cannot act for its account") from None


def unwritten(text: str, error: WriteFailed) -> Refused:
    """What is said of a record that the PDS did not take: why it did not, the log says. Where others never
    stopped writing it, the same may work another time."""
    if isinstance(error, NotSignedIn):
        return Refused(401, "session_expired")
    return Refused(502 if isinstance(error, Away | Swapped) else 500, text)
