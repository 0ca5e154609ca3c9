"""`/preferences/`: what somebody chose, for themselves and about their tracks; `/account/accept-terms`.

A change names what it changes: what is absent or null stays. An empty text takes `support_url` and
`download_policy` back, and what is in `ui_settings` is added to what is there, name by name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import orjson
from aiohttp import web
from msgspec import Meta

from appview.auth.desk import Desk
from appview.rest import account_shapes
from appview.rest.answers import Refused, answer, body_of, object_in, problem, rest, slashed
from appview.rest.asker import Asker
from appview.rest.spec import Auth, described
from lexicons.syntax import Did
from storage import preferences
from storage.preferences import MAX_UI_BYTES, TooMuch

Color = Annotated[str, Meta(pattern="^#(?:[0-9a-fA-F]{3}){1,2}$")]
Theme = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,31}$")]
Tag = Annotated[str, Meta(min_length=1, max_length=50)]
# A page of theirs, none, or by a word the service that artists of plyr.fm are supported with.
SupportUrl = Annotated[str, Meta(pattern=r"^(?:https://[^\s\"<>\\]+|atprotofans|)$", max_length=2048)]

_NOTHING = msgspec.Raw(b"null")
_CLEARED = ("support_url", "download_policy")


class PreferencesUpdate(msgspec.Struct):
    accent_color: Color | None = None
    auto_advance: bool | None = None
    allow_comments: bool | None = None
    theme: Theme | None = None
    download_policy: Literal["open", "ask", "supporters", "off", ""] | None = None
    hidden_tags: Annotated[list[Tag], Meta(max_length=100)] | None = None
    show_sensitive_artwork: bool | None = None
    show_sensitive_audio: bool | None = None
    show_liked_on_profile: bool | None = None
    support_url: SupportUrl | None = None
    ui_settings: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": ["object", "null"]})] = msgspec.field(
        default_factory=lambda: _NOTHING
    )


class Preferences:
    def __init__(self, desk: Desk, asker: Asker) -> None:
        self._desk = desk
        self._asker = asker

    def add_to(self, router: web.UrlDispatcher) -> None:
        slashed(router, "/preferences/")
        router.add_get("/preferences/", rest(self.show))
        router.add_post("/preferences/", rest(self.change))
        router.add_post("/account/accept-terms", rest(self.accept))

    @described("What whoever asks has chosen", answer=account_shapes.Preferences, auth=Auth.SESSION)
    async def show(self, request: web.Request) -> web.StreamResponse:
        return answer(shown(await self._asker.own(request, preferences.of)))

    @described(
        "Choose otherwise; what is absent or null stays",
        body=PreferencesUpdate,
        answer=account_shapes.Preferences,
        auth=Auth.SESSION,
        errors={422: "no such color, theme, address, …"},
    )
    async def change(self, request: web.Request) -> web.StreamResponse:
        """All of them, as they are from now on."""
        session = (await self._desk.asking(request)).session
        chosen, ui_settings = choices(await body_of(request, PreferencesUpdate))
        try:
            async with self._desk.pool.connection() as conn:
                return answer(shown(await preferences.put(conn, Did(session.did), chosen, ui_settings)))
        except TooMuch:
            raise _refused("ui_settings", f"at most {MAX_UI_BYTES} bytes of them are kept") from None

    @described("Accept the terms of use", answer=account_shapes.TermsAccepted, auth=Auth.SESSION)
    async def accept(self, request: web.Request) -> web.StreamResponse:
        """When the terms were accepted, which the first time counts for."""
        session = (await self._desk.asking(request)).session
        async with self._desk.pool.connection() as conn:
            accepted = await preferences.accept_terms(conn, Did(session.did))
        return answer({"terms_accepted_at": accepted})


def choices(update: PreferencesUpdate) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is to be kept: choices by name, and the settings of the user interface. Raises Refused 422."""
    chosen = {name: value for name, value in msgspec.structs.asdict(update).items() if value is not None}
    chosen |= {name: None for name in _CLEARED if chosen.get(name) == ""}
    raw = chosen.pop("ui_settings")
    ui_settings = {} if raw == _NOTHING else object_in(raw, "ui_settings")
    # Postgres has no form for it.
    if b"\\u0000" in orjson.dumps([chosen, ui_settings]):
        raise _refused("ui_settings", "there is a NUL in it")
    return chosen, ui_settings


def shown(held: preferences.Preferences) -> dict[str, Any]:
    """As the frontend reads them; plays are not told to teal.fm from here, whoever wishes for it."""
    each = {name: getattr(held, name) for name in preferences.CHOICES}
    each |= {"enable_teal_scrobbling": False, "teal_needs_reauth": False}
    return each | {"terms_accepted_at": held.terms_accepted_at}


def _refused(name: str, text: str) -> Refused:
    return Refused(422, [problem(f"{text} - at `$.{name}`", "body")])
