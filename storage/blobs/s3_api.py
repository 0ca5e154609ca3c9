"""The requests that S3Store makes, and how their refusals become ours. The untyped client library ends here.

aioboto3 signs, lists, copies and puts parts together; the bytes themselves go through one aiohttp session on
presigned addresses, a third of the CPU and half of the memory of a transfer through boto.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast

import aioboto3  # pyright: ignore[reportMissingTypeStubs]
import aiohttp
from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

from storage.blobs.store import BlobFailed, BlobMissing, StoreDown
from storage.blobs.streams import in_pieces, sliced

_MISSING = frozenset({"404", "NotFound", "NoSuchKey", "NoSuchUpload"})
_READ_PIECE = 262_144
_SIGNED_S = 3600
_STALLED_S = 60
_PAUSES_S = (0.3, 2.0)


@dataclass(frozen=True, slots=True)
class S3Config:
    """Where it is. `public_bucket` may be open to everybody, and a CDN stand in front of it; `private_bucket`
    must not. `endpoint` None is the provider's own for the region."""

    public_bucket: str
    private_bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    endpoint: str | None = None
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class Limits:
    """`put_bytes`: the largest single request of the protocol; what is larger, or of unknown size, goes in
    parts of `part_bytes`."""

    put_bytes: int = 5 << 30
    part_bytes: int = 16 << 20


LIMITS = Limits()


@asynccontextmanager
async def calling() -> AsyncGenerator[None]:
    """Around a call to S3: what it refuses is BlobMissing or StoreDown."""
    try:
        yield
    except ClientError as error:
        told = cast(dict[str, Any], error.response).get("Error", {})
        if str(told.get("Code")) in _MISSING:
            raise BlobMissing(f"S3: {told.get('Message') or 'not found'}") from error
        raise StoreDown(f"S3: {error}") from error
    except (BotoCoreError, aiohttp.ClientError, TimeoutError) as error:
        raise StoreDown(f"S3: {str(error) or type(error).__name__}") from error


class S3Api:
    """One S3's objects by bucket and path; use it as an async context manager."""

    def __init__(self, config: S3Config, limits: Limits) -> None:
        self._config = config
        self._limits = limits
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        config = self._config
        session = cast(Any, aioboto3).Session(
            aws_access_key_id=config.access_key,
            aws_secret_access_key=config.secret_key,
            region_name=config.region,
        )
        options = AioConfig(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=10,
            read_timeout=_STALLED_S,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        client = session.client("s3", endpoint_url=config.endpoint, config=options)
        self._client: Any = await self._stack.enter_async_context(client)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_STALLED_S)
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False, read_bufsize=_READ_PIECE)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def sign(
        self, method: str, bucket: str, path: str, *, expires_s: int = _SIGNED_S, **more: Any
    ) -> str:
        """An address for one request of this kind, good for anybody."""
        params = {"Bucket": bucket, "Key": path, **more}
        return str(await self._client.generate_presigned_url(method, Params=params, ExpiresIn=expires_s))

    async def put(self, bucket: str, path: str, chunks: AsyncIterable[bytes], size: int | None) -> None:
        """Store `size` bytes as they come, in one request where the protocol allows it."""
        if size is None or size > self._limits.put_bytes:
            await self._put_parts(bucket, path, chunks)
        else:
            await self._send(await self.sign("put_object", bucket, path), aiter(chunks), size)

    async def put_held(self, bucket: str, path: str, piece: bytes | bytearray) -> None:
        """Store bytes that are in memory; tried three times."""
        await self._send_held(await self.sign("put_object", bucket, path), piece)

    async def get(
        self, bucket: str, path: str, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        url = await self.sign("get_object", bucket, path)
        last = "" if stop is None else str(stop - 1)
        headers = {} if start == 0 and stop is None else {"Range": f"bytes={start}-{last}"}
        async with calling(), self._http.get(url, headers=headers) as answer:
            if answer.status == 404:
                raise BlobMissing(f"no blob {path}")
            if answer.status == 416:  # it begins behind the end
                return
            if answer.status != (206 if headers else 200):
                raise StoreDown(f"reading failed: {answer.status} {(await answer.content.read(500))!r}")
            async for chunk in answer.content.iter_any():
                yield chunk

    async def head(self, bucket: str, path: str) -> dict[str, Any] | None:
        """`ContentLength`, `LastModified` and so on; None where there is no object."""
        try:
            async with calling():
                return await self._client.head_object(Bucket=bucket, Key=path)
        except BlobMissing:
            return None

    async def remove(self, bucket: str, path: str) -> None:
        with contextlib.suppress(BlobMissing):
            async with calling():
                await self._client.delete_object(Bucket=bucket, Key=path)

    async def listed(self, bucket: str, prefix: str) -> AsyncIterator[dict[str, Any]]:
        """`Key`, `Size`, `LastModified` of every object below a prefix, in order of their keys."""
        more: dict[str, str] = {}
        while True:
            async with calling():
                page = await self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
            for found in page.get("Contents", ()):
                yield found
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def copy(
        self, source: dict[str, str], size: int, bucket: str, path: str, described: dict[str, str]
    ) -> None:
        """Copy an object inside of S3, with other headers. `source` has `Bucket` and `Key`."""
        target: dict[str, Any] = {"Bucket": bucket, "Key": path}
        if size <= self._limits.put_bytes:
            async with calling():
                await self._client.copy_object(
                    **target, CopySource=source, MetadataDirective="REPLACE", **described
                )
            return
        step = self._limits.put_bytes
        async with self._upload(target, **described) as (upload, parts):
            for start in range(0, size, step):
                done = await self._client.upload_part_copy(
                    **target,
                    CopySource=source,
                    CopySourceRange=f"bytes={start}-{min(start + step, size) - 1}",
                    UploadId=upload,
                    PartNumber=len(parts) + 1,
                )
                parts.append({"PartNumber": len(parts) + 1, "ETag": done["CopyPartResult"]["ETag"]})

    async def _put_parts(self, bucket: str, path: str, chunks: AsyncIterable[bytes]) -> None:
        async with self._upload({"Bucket": bucket, "Key": path}) as (upload, parts):

            async def keep(piece: bytearray) -> None:
                number = len(parts) + 1
                url = await self.sign("upload_part", bucket, path, UploadId=upload, PartNumber=number)
                parts.append({"PartNumber": number, "ETag": await self._send_held(url, piece)})

            await in_pieces(chunks, self._limits.part_bytes, keep)
            if not parts:  # an upload of no parts cannot be completed
                await keep(bytearray())

    @asynccontextmanager
    async def _upload(
        self, target: dict[str, Any], **described: str
    ) -> AsyncGenerator[tuple[str, list[dict[str, Any]]]]:
        """An upload in parts, which the block adds: completed behind it, aborted where it raised."""
        parts: list[dict[str, Any]] = []
        async with calling():
            upload = str((await self._client.create_multipart_upload(**target, **described))["UploadId"])
        try:
            async with calling():
                yield upload, parts
                await self._client.complete_multipart_upload(
                    **target, UploadId=upload, MultipartUpload={"Parts": parts}
                )
        except BaseException:
            await asyncio.shield(self._abort(target, upload))
            raise

    async def _abort(self, target: dict[str, Any], upload: str) -> None:
        # Best effort: a lifecycle rule of the bucket removes what a crash leaves, too.
        with contextlib.suppress(BlobFailed):
            async with calling():
                await self._client.abort_multipart_upload(**target, UploadId=upload)

    async def _send_held(self, url: str, piece: bytes | bytearray) -> str:
        for pause_s in _PAUSES_S:
            try:
                return await self._send(url, sliced(piece), len(piece))
            except StoreDown:
                await asyncio.sleep(pause_s)
        return await self._send(url, sliced(piece), len(piece))

    async def _send(self, url: str, body: AsyncIterator[bytes], size: int) -> str:
        """PUT exactly `size` bytes; returns the ETag."""
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        async with calling(), self._http.put(url, data=body, headers=headers) as answer:
            if answer.status not in (200, 201):
                raise StoreDown(f"storing failed: {answer.status} {(await answer.content.read(500))!r}")
            return answer.headers.get("ETag", "")
