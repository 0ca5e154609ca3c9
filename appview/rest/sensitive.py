"""`/moderation/sensitive-images`: pictures that clients cover until somebody wants to see them."""

from __future__ import annotations

from aiohttp import web

from appview.clients import origin_of
from appview.rest import site_shapes
from appview.rest.answers import answer, rest
from appview.rest.spec import described
from indexer.profiles import AVATAR_URL
from lexicons.datamodel import raw_cid
from storage import sensitive_images
from storage.reader import Reads


class SensitiveImages:
    """`origin`: where people reach us; None: wherever they ask."""

    def __init__(self, reads: Reads, origin: str | None) -> None:
        self._reads = reads
        self._origin = origin

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/moderation/sensitive-images", rest(self.all))

    @described(
        "Pictures that were found to be sensitive: `image_ids` as in `/image/`, `urls` where they are",
        answer=site_shapes.SensitiveImages,
    )
    async def all(self, request: web.Request) -> web.StreamResponse:
        found = await sensitive_images.all(self._reads)
        origin = self._origin or origin_of(request)
        ids = dict.fromkeys(each.sha256 for each in found if each.here)
        urls = [
            f"{origin}/image/{each.sha256}"
            if each.here
            else AVATAR_URL.format(did=each.did, cid=raw_cid(each.sha256))
            for each in found
        ]
        return answer({"image_ids": list(ids), "urls": list(dict.fromkeys(urls))})
