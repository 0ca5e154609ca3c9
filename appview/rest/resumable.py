"""Uploads in parts, for connections that break: tus 1.0.0 with creation and termination
(<https://tus.io/protocols/resumable-upload>), so that its clients work.

    POST /uploads ─▶ 201 Location        Upload-Length, and what is said of the track in Upload-Metadata
    PATCH, cut off, HEAD ─▶ Upload-Offset, PATCH from there, …
    the last byte ─▶ sealed, and the job, once; its id is in `Upload-Job`

Contract: what HEAD tells is durable. One request adds to an upload at a time: a later one of the same process
takes over, since a client whose connection broke is back before we notice; in another process it finds the
upload locked (423) until the lease of the earlier one has run out. All of it is its owner's alone.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import psycopg
import structlog
from aiohttp import hdrs, web

from appview import loops
from appview.auth.acting import Actor
from appview.errors import AppError
from appview.guards import GATE, detailed
from appview.incoming import Incoming, expects
from appview.media.receive import MIB, Plan, Receiver, Staged, UploadLimits
from appview.rest.answers import Handler, Refused, answer, rest
from appview.rest.spec import Auth, described
from storage import uploads
from storage.blobs.store import BadOffset
from storage.uploads import Resumable

log = structlog.get_logger()

VERSION = "1.0.0"
LEASE_S = 30.0
TAKE_OVER_S = 10.0
_CHUNK = "application/offset+octet-stream"
_METHODS = ("HEAD", "PATCH", "DELETE")

ActorOf = Callable[[web.Request], Awaitable[Actor]]
PlanOf = Callable[..., Awaitable[Plan]]


class Resumables:
    """`actor` tells who asks, `plan` what becomes of texts."""

    def __init__(self, receiver: Receiver, actor: ActorOf, plan: PlanOf) -> None:
        self._receiver = receiver
        self._actor = actor
        self._plan = plan
        self._adding: dict[str, tuple[web.Request, asyncio.Event]] = {}

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/uploads", rest(self.list), allow_head=False)
        router.add_post("/uploads", _tus(self.create))
        router.add_route("POST", "/uploads/{id}", _tus(self.overridden), expect_handler=expects)
        for method, handler in (("HEAD", self.tell), ("PATCH", self.add), ("DELETE", self.end)):
            router.add_route(method, "/uploads/{id}", _tus(handler), expect_handler=expects)
        for path in ("/uploads", "/uploads/{id}"):
            router.add_route("OPTIONS", path, self.options)

    async def options(self, _: web.Request) -> web.StreamResponse:
        return web.Response(
            status=204,
            headers={
                "Tus-Resumable": VERSION,
                "Tus-Version": VERSION,
                "Tus-Max-Size": str(self._receiver.limits.max_bytes),
                "Tus-Extension": "creation,termination",
            },
        )

    @described(
        "Resumable uploads of one's own that are not whole yet", answer=dict[str, Any], auth=Auth.ACTOR
    )
    async def list(self, request: web.Request) -> web.StreamResponse:
        """One's own that are not whole yet."""
        actor = await self._actor(request)
        async with self._receiver.pool.connection() as conn:
            found = await uploads.resumables(conn, actor.did)
        shown = [
            {
                "location": f"/uploads/{each.name}",
                "title": each.plan["plan"]["title"],
                "length": each.bytes,
                "offset": await self._receiver.store.staged_size(each.name),
                "updated_at": each.touched_at.isoformat(),
            }
            for each in found
        ]
        return answer({"uploads": shown})

    async def create(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actor(request)
        length = _number(request, "Upload-Length")
        limits = self._receiver.limits
        if length > limits.max_bytes:
            raise too_large(limits)
        if not length:
            raise Refused(400, "the file is empty")
        metadata = request.headers.get("Upload-Metadata", "")
        texts = read_metadata(metadata)
        plan = await self._plan(texts, filename=texts.get("filename"))
        kept = {"plan": plan.args(), "metadata": metadata}
        name = await self._receiver.begin(actor, size=length, plan=kept)
        return web.Response(status=201, headers={hdrs.LOCATION: f"/uploads/{name}", "Upload-Offset": "0"})

    async def overridden(self, request: web.Request) -> web.StreamResponse:
        """For clients that can send nothing but GET and POST."""
        method = request.headers.get("X-HTTP-Method-Override", "").upper()
        if method not in _METHODS:
            raise web.HTTPMethodNotAllowed(request.method, _METHODS)
        return await {"HEAD": self.tell, "PATCH": self.add, "DELETE": self.end}[method](request)

    async def tell(self, request: web.Request) -> web.StreamResponse:
        """How far it is. Where all of it is here, and nobody has taken it further, that is done now."""
        actor = await self._actor(request)
        name = request.match_info["id"]
        found = await self._find(name, actor)
        if isinstance(found, web.Response):
            return found
        await self._take_over(name)
        offset = await self._receiver.store.staged_size(name)
        job = None
        if offset == found.bytes:
            async with self._leased(request, name):
                job = await self._finish(actor, found)
        response = _at(200, offset, found.bytes, job)
        if found.plan["metadata"]:
            response.headers["Upload-Metadata"] = found.plan["metadata"]
        return response

    async def add(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actor(request)
        if request.content_type != _CHUNK:
            raise Refused(415, f"the body must be {_CHUNK}")
        at = _number(request, "Upload-Offset")
        body = Incoming.of(request)
        name = request.match_info["id"]
        found = await self._find(name, actor)
        if isinstance(found, web.Response):
            raise Refused(409, "all of this upload is here already")
        most = found.bytes - at
        if most < 0 or (body.size or 0) > most:
            raise Refused(413, "that is more than Upload-Length said")
        await self._take_over(name)
        async with self._leased(request, name):
            try:
                end = await self._receiver.store.append(name, body.chunks(most), at=at)
            except BadOffset as error:
                raise Refused(409, f"the upload is at {error.durable}, not at {at}") from None
            job = await self._finish(actor, found) if end == found.bytes else None
        return _at(204, end, None, job)

    async def end(self, request: web.Request) -> web.StreamResponse:
        actor = await self._actor(request)
        name = request.match_info["id"]
        if isinstance(await self._find(name, actor), web.Response):
            raise Refused(404, "upload not found")
        await self._take_over(name)
        async with self._leased(request, name) as lease:
            await self._receiver.store.unstage(name)
            async with self._receiver.pool.connection() as conn:
                await uploads.drop(conn, name, lease)
        return web.Response(status=204)

    async def _find(self, name: str, actor: Actor) -> Resumable | web.Response:
        """An upload of theirs; the answer about one that has become a job. Raises Refused 404."""
        async with self._receiver.pool.connection() as conn:
            job = await uploads.job_of(conn, name, actor.did)
            found = None if job else await uploads.resumable(conn, name, actor.did)
        if job is not None:
            return _at(200, job[1], job[1], job[0])
        if found is None:
            raise Refused(404, "upload not found")
        return found

    async def _finish(self, actor: Actor, upload: Resumable) -> UUID:
        """The job that goes on with all of it."""
        digest = await self._receiver.store.seal(upload.name)
        return await self._receiver.enqueue(actor, upload.plan["plan"], Staged(upload.name, digest), None)

    async def _take_over(self, name: str) -> None:
        """Cut off whoever adds to it in this process; what came is kept."""
        adding = self._adding.get(name)
        if adding is None:
            return
        request, done = adding
        if request.transport is not None:
            request.transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKE_OVER_S):
                await done.wait()

    @asynccontextmanager
    async def _leased(self, request: web.Request, name: str) -> AsyncIterator[UUID]:
        """Nobody else adds to it within the block. Raises Refused 423."""
        lease, done = uuid4(), asyncio.Event()
        if name in self._adding or not await self._lease(name, lease):
            raise Refused(423, "another request adds to this upload")
        self._adding[name] = request, done
        keep = asyncio.create_task(self._keep(request, name, lease), name="lease of an upload")
        try:
            yield lease
        finally:
            try:
                await loops.end(keep)
                async with self._receiver.pool.connection() as conn:
                    await uploads.release(conn, name, lease)
            except psycopg.OperationalError as error:
                log.warning("an upload stays leased for a while", reason=str(error).strip())
            finally:
                del self._adding[name]
                done.set()

    async def _lease(self, name: str, lease: UUID) -> bool:
        async with self._receiver.pool.connection() as conn:
            return await uploads.lease(conn, name, lease, lease_s=LEASE_S)

    async def _keep(self, request: web.Request, name: str, lease: UUID) -> None:
        """Renew the lease again and again. Who cannot must not add any more: then the request is cut off."""
        held_until = asyncio.get_running_loop().time() + LEASE_S
        while True:
            await asyncio.sleep(LEASE_S / 6)
            now = asyncio.get_running_loop().time()
            try:
                held = await self._lease(name, lease)
                held_until = now + LEASE_S
            except psycopg.OperationalError as error:
                log.warning("cannot keep an upload", reason=str(error).strip())
                held = now + LEASE_S / 3 < held_until
            except Exception:
                log.exception("an upload is not kept", upload=name)
                held = False
            if not held:
                if request.transport is not None:
                    request.transport.abort()
                return


def too_large(limits: UploadLimits) -> Refused:
    return Refused(413, f"file too large (max {limits.max_bytes // MIB}MB)")


def read_metadata(header: str) -> dict[str, str]:
    """Texts by name from `name base64,name base64,name`. Raises Refused 400."""
    texts: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            texts[name] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Refused(400, f"Upload-Metadata: {name[:40]} is no base64 of a text") from None
    return texts


def _number(request: web.Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refused(400, f"{name} must be a number of bytes")
    return int(text)


def _at(status: int, offset: int, length: int | None, job: UUID | None) -> web.Response:
    headers: Mapping[str, Any] = {
        "Upload-Offset": str(offset),
        "Upload-Length": None if length is None else str(length),
        "Upload-Job": None if job is None else str(job),
        hdrs.CACHE_CONTROL: "no-store",
    }
    return web.Response(status=status, headers={name: value for name, value in headers.items() if value})


def _tus(handler: Handler) -> Handler:
    """The handler for clients of this version, who find it in every answer."""
    inner = rest(handler)

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Tus-Resumable") != VERSION:
            response: web.StreamResponse = answer({"detail": f"Tus-Resumable must be {VERSION}"}, 412)
            response.headers["Tus-Version"] = VERSION
        else:
            try:
                response = await inner(request)
            except AppError as error:
                request.app[GATE].refused(error)
                response = detailed(error)
        response.headers["Tus-Resumable"] = VERSION
        return response

    return handle
