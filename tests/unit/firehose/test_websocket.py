"""Whole binary frames are taken out of the receive buffer; wherever they are cut, the same comes out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from firehose.websocket import MAX_MESSAGE_BYTES, ConnectionEnded, open_stream

BINARY, TEXT, CONTINUATION, CLOSE, PING = 2, 1, 0, 8, 9


def frame(payload: bytes, opcode: int = BINARY, *, final: bool = True, masked: bool = False) -> bytes:
    """One frame as RFC 6455, section 5.2, lays it out."""
    head = bytes([(0x80 if final else 0) | opcode])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 65536:
        head += bytes([mask | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + len(payload).to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


@asynccontextmanager
async def server(pieces: Sequence[bytes], *, with_handshake: int = 0) -> AsyncIterator[str]:
    """Answers the handshake, the first `with_handshake` pieces in the same write, then writes the rest."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(
            line.split(": ")[1]
            for line in request.split("\r\n")
            if line.lower().startswith("sec-websocket-key")
        )
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        try:
            writer.write(answer + b"".join(pieces[:with_handshake]))
            for piece in pieces[with_handshake:]:
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(piece)
            await writer.drain()
            await reader.read()
        except ConnectionError:
            return
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"


async def received(url: str, count: int) -> list[bytes]:
    """The first `count` messages. Raises `ConnectionEnded` if the connection ends before."""
    connection = await open_stream(url, open_timeout_s=5)
    messages: list[bytes] = []
    try:
        async with asyncio.timeout(10):
            while len(messages) < count:
                messages += await connection.next_chunk(ping_after_s=5, ping_timeout_s=5)
    finally:
        await connection.drop()
    return messages


def cut(data: bytes, rng: random.Random) -> list[bytes]:
    pieces: list[bytes] = []
    while data:
        size = rng.choice((1, 2, 3, 7, 100, 5_000, 70_000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@pytest.mark.parametrize("seed", range(12))
async def test_frames_of_every_length_arrive_whole_wherever_the_bytes_are_cut(seed: int) -> None:
    rng = random.Random(seed)
    sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000, *(rng.randint(0, 9_000) for _ in range(40))]
    rng.shuffle(sizes)
    messages = [rng.randbytes(size) for size in sizes]
    stream = b"".join(frame(m) for m in messages)
    async with server(cut(stream, rng), with_handshake=seed % 3) as url:
        assert await received(url, len(messages)) == messages


@pytest.mark.parametrize("seed", range(6))
async def test_fragments_pings_and_text_between_them_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    stream = b"".join(
        [
            frame(b"first"),
            frame(b"split ", final=False),
            frame(b"ping", PING),
            frame(b"in ", CONTINUATION, final=False),
            frame(b"three", CONTINUATION),
            frame(b"words, dropped", TEXT),
            frame(b"", PING),
            frame(b"last"),
        ]
    )
    async with server(cut(stream, rng)) as url:
        assert await received(url, 3) == [b"first", b"split in three", b"last"]


async def test_a_binary_frame_inside_a_fragmented_message_ends_the_connection() -> None:
    stream = frame(b"begin", final=False) + frame(b"intruder") + frame(b"end", CONTINUATION)
    async with server([stream]) as url:
        with pytest.raises(ConnectionEnded, match="1002"):
            await received(url, 1)


async def test_a_masked_frame_ends_the_connection() -> None:
    async with server([frame(b"good") + frame(b"masked", masked=True)]) as url:
        with pytest.raises(ConnectionEnded, match="1002"):
            await received(url, 2)


async def test_a_frame_that_announces_more_than_the_limit_ends_the_connection_before_it_comes() -> None:
    head = frame(b"")[:1] + bytes([127]) + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big")
    async with server([head + b"x" * 100]) as url:
        with pytest.raises(ConnectionEnded, match="1009"):
            await received(url, 1)


async def test_a_frame_of_exactly_the_limit_is_taken() -> None:
    message = bytes(MAX_MESSAGE_BYTES)
    async with server(cut(frame(message) + frame(b"next"), random.Random(1))) as url:
        assert await received(url, 2) == [message, b"next"]


async def test_what_came_before_a_close_is_handed_over() -> None:
    stream = frame(b"one") + frame(b"two") + frame((1000).to_bytes(2, "big") + b"bye", CLOSE) + b"garbage"
    async with server([stream]) as url:
        assert await received(url, 2) == [b"one", b"two"]
        with pytest.raises(ConnectionEnded):
            await received(url, 3)


async def test_reserved_bits_end_the_connection() -> None:
    async with server([bytes([0xC2, 1]) + b"x"]) as url:
        with pytest.raises(ConnectionEnded, match="1002"):
            await received(url, 1)
