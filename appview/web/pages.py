"""`/`: what this server reads, how fresh it is, the latest tracks, and how to ask it."""

from __future__ import annotations

from aiohttp import web

from appview.service import Service


class HomePage:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def handle(self, request: web.Request) -> web.Response:
        return web.Response(text="plyr\n")
