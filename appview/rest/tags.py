"""Tags: what artists file their tracks under. They are kept here alone: the record has no place for them."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, cast

import msgspec
import orjson
from aiohttp import web

from appview.rest import present, shapes
from appview.rest.answers import Refused, answer, answer_json, rest
from appview.rest.asker import Asker
from appview.rest.spec import Auth, described, query_of
from appview.sound_origins import SoundOrigins
from storage import keyset, rest_feed
from storage.reader import Reads

MOST_TAGS, MOST_LETTERS = 10, 50
_SPACE = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def normal(text: str) -> str:
    """A tag as it is kept: small, without the sign in front of it. Empty where there is nothing."""
    plain = _CONTROL.sub(" ", unicodedata.normalize("NFC", text))
    return _SPACE.sub(" ", plain).strip().lstrip("#").strip().lower()


def tags_of(text: str) -> list[str]:
    """The tags of a form: a JSON array of texts, each once. Raises Refused 400."""
    if not text:
        return []
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"invalid JSON in tags: {error}") from None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in cast("list[object]", value)):
        raise Refused(400, "tags must be a JSON array of strings")
    tags = list(dict.fromkeys(filter(None, map(normal, cast("list[str]", value)))))
    if len(tags) > MOST_TAGS:
        raise Refused(400, f"maximum {MOST_TAGS} tags allowed")
    if any(len(tag) > MOST_LETTERS for tag in tags):
        raise Refused(400, f"a tag has at most {MOST_LETTERS} letters")
    return tags


class TagsQuery(msgspec.Struct):
    q: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


class Tags:
    def __init__(self, reads: Reads, asker: Asker, sounds: SoundOrigins) -> None:
        self._reads = reads
        self._sounds = sounds
        self._asker = asker

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/tracks/tags", rest(self.all))
        router.add_get("/tracks/tags/{tag:.+}", rest(self.tracks))

    @described("Tags that tracks have, the most used first", answer=list[shapes.Tag], query=TagsQuery)
    async def all(self, request: web.Request) -> web.StreamResponse:
        asked = query_of(request, TagsQuery)
        found = await rest_feed.tags(self._reads, normal(asked.q or "") or None, asked.limit)
        return answer(
            [{"name": tag.name, "track_count": tag.tracks, "total_plays": tag.plays} for tag in found]
        )

    @described(
        "The newest tracks with a tag",
        answer=shapes.TracksOfTag,
        auth=Auth.OPTIONAL,
        errors={404: "`tag not found`"},
    )
    async def tracks(self, request: web.Request) -> web.StreamResponse:
        tag = normal(request.match_info["tag"])
        page = await self._asker.shown(
            request,
            lambda reads, did: rest_feed.tagged(reads, did, [tag], None, keyset.TIME_ID.start, 100),
        )
        if not page.count:
            raise Refused(404, "tag not found")
        count = page.count if page.next is None else await rest_feed.tag_count(self._reads, tag)
        told = b'"tag":%b,"created_by_handle":null' % orjson.dumps({"name": tag, "track_count": count})
        return answer_json(*present.page(present.listed(page, self._sounds), told))
