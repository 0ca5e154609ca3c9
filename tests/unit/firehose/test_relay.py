"""The subscription to one relay: cursors, refusals, silence, storms, and how much is held in memory."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import pytest
from websockets.asyncio.server import ServerConnection

from firehose.events import ErrorFrame
from firehose.frames import decode_frame, seq_of
from firehose.relay import BadSource, Source, SourceState, SourceStatus, Timing, parse_source, stream
from firehose.websocket import MAX_MESSAGE_BYTES
from tests.fakenet.relay import FakeRelay, Refuse, Say, numbered
from tests.fakenet.repo import error_frame, frame
from tests.fakenet.tls import Authority

QUICK = Timing(
    open_timeout_s=10,
    ping_after_s=5,
    ping_timeout_s=5,
    pause_min_s=0.01,
    pause_base_s=0.02,
    pause_cap_s=0.05,
    healthy_after_s=60,
    future_cursor_wait_s=0.6,
)


@pytest.fixture
async def relay() -> AsyncIterator[FakeRelay]:
    async with FakeRelay() as relay:
        yield relay


@dataclass
class Reader:
    """Reads a stream in a task, as a consumer does; `saved` is its durable cursor."""

    status: SourceStatus
    saved: int | None = None
    frames: list[bytes] = field(default_factory=list[bytes])

    @property
    def seqs(self) -> list[int]:
        return [seq for raw in self.frames if (seq := seq_of(decode_frame(raw))) is not None]

    @property
    def errors(self) -> list[str]:
        frames = [decode_frame(raw) for raw in self.frames]
        return [frame.error for frame in frames if isinstance(frame, ErrorFrame)]

    async def until(self, condition: Callable[[], object], timeout_s: float = 30) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def reading(
    relay: FakeRelay | str,
    saved: int | None = None,
    timing: Timing = QUICK,
    authority: Authority | None = None,
) -> AsyncIterator[Reader]:
    source = parse_source(relay if isinstance(relay, str) else relay.url)
    reader = Reader(SourceStatus(source.url), saved)

    async def read() -> None:
        chunks = stream(
            source,
            lambda: reader.saved,
            reader.status,
            timing=timing,
            ssl_context=authority.client_context if authority else None,
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                assert chunk
                reader.frames.extend(chunk)

    task = asyncio.create_task(read())
    try:
        yield reader
    finally:
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        assert isinstance(outcome, asyncio.CancelledError), outcome
        assert reader.status.state is SourceState.STOPPED


# -- sources


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("relay1.us-east.bsky.network", "wss://relay1.us-east.bsky.network"),
        ("  wss://Relay.Bsky.Network:443/ ", "wss://relay.bsky.network"),
        ("https://relay.bsky.network.", "wss://relay.bsky.network"),
        ("wss://relay.bsky.network/xrpc/com.atproto.sync.subscribeRepos", "wss://relay.bsky.network"),
        ("wss://relay.bsky.network:8443", "wss://relay.bsky.network:8443"),
        ("wss://8.8.8.8", "wss://8.8.8.8"),
        ("localhost:2583", "ws://localhost:2583"),
        ("http://localhost:2583/", "ws://localhost:2583"),
        ("ws://127.0.0.1", "ws://127.0.0.1"),
        ("ws://127.0.0.1:80", "ws://127.0.0.1"),
        ("ws://[::1]:2583", "ws://[::1]:2583"),
        ("[::1]:2583", "ws://[::1]:2583"),
        ("wss://localhost:2583", "wss://localhost:2583"),
    ],
)
def test_source_is_normalised_to_one_url(text: str, url: str) -> None:
    source = parse_source(text)
    assert source == Source(f"{url}/xrpc/com.atproto.sync.subscribeRepos")
    assert parse_source(source.url) == source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "ws://relay.bsky.network",
        "http://relay.bsky.network",
        "ftp://relay.bsky.network",
        "wss://",
        "wss:///xrpc/com.atproto.sync.subscribeRepos",
        "wss://relay.bsky.network/xrpc/subscribe",
        "wss://relay.bsky.network/xrpc/com.atproto.label.subscribeLabels",
        "wss://relay.bsky.network/?cursor=1",
        "wss://relay.bsky.network/#x",
        "wss://user:secret@relay.bsky.network",
        "wss://relay.bsky.network:0",
        "wss://relay.bsky.network:99999",
        "wss://relay.bsky.network:port",
        "wss://10.0.0.1",
        "wss://192.168.1.1:443",
        "wss://169.254.169.254",
        "wss://2130706433",
        "wss://relay",
        "ws://10.0.0.1",
        "two words",
        "wss://relay.bsky.network\nwss://other.dev",
        "wss://[::1",
        "wss://réseau.dev",
        "x" * 3000,
    ],
)
def test_source_that_is_none_ends_in_one_line(text: str) -> None:
    with pytest.raises(BadSource) as caught:
        parse_source(text)
    assert str(caught.value).startswith("source ")
    assert "\n" not in str(caught.value)


# -- cursors (A6)


async def test_no_cursor_means_live(relay: FakeRelay) -> None:
    relay.publish(1, 2, 3)
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.state is SourceState.CONNECTED)
        relay.publish(4, 5)
        await reader.until(lambda: len(reader.frames) == 2)
    assert reader.seqs == [4, 5]
    assert relay.dials[0].cursor is None
    assert relay.dials[0].path == "/xrpc/com.atproto.sync.subscribeRepos"


async def test_cursor_zero_means_the_oldest(relay: FakeRelay) -> None:
    relay.publish(11, 12, 13)
    async with reading(relay, saved=0) as reader:
        await reader.until(lambda: len(reader.frames) == 3)
    assert reader.seqs == [11, 12, 13]
    assert reader.status.cursor == 0


async def test_cursor_in_the_window_starts_there(relay: FakeRelay) -> None:
    relay.publish(11, 12, 13)
    async with reading(relay, saved=12) as reader:
        await reader.until(lambda: len(reader.frames) == 2)
    assert reader.seqs == [12, 13]


async def test_cursor_too_old_brings_outdated_cursor_first(relay: FakeRelay) -> None:
    relay.publish(11, 12)
    async with reading(relay, saved=5) as reader:
        await reader.until(lambda: len(reader.frames) == 3)
    first = decode_frame(reader.frames[0])
    assert not isinstance(first, ErrorFrame)
    assert (first.type, first.body["name"]) == ("#info", "OutdatedCursor")
    assert reader.seqs == [11, 12]
    assert len(relay.dials) == 1


async def test_cursor_in_the_future_is_handed_on_kept_and_waited_with(relay: FakeRelay) -> None:
    relay.publish(1, 2)
    async with reading(relay, saved=99) as reader:
        await reader.until(lambda: reader.errors == ["FutureCursor"])
        await asyncio.sleep(0.3)
        assert len(relay.dials) == 1
        assert reader.status.state is SourceState.WAITING
        assert reader.status.last_error is not None
        assert "FutureCursor" in reader.status.last_error
        assert "99" in reader.status.last_error
        await reader.until(lambda: len(relay.dials) == 2)
        assert relay.dials[1].cursor == 99
        reader.saved = 1
        await reader.until(lambda: reader.seqs == [1, 2])


# -- reconnecting (A14, A15, T24, T25)


async def test_t24_every_connect_asks_for_the_cursor_anew(relay: FakeRelay) -> None:
    relay.script.extend(Say((numbered(n),), code=1000) for n in (7, 8, 9))
    async with reading(relay, saved=5) as reader:
        for n in (7, 8, 9):
            await reader.until(lambda n=n: reader.seqs[-1:] == [n])
            reader.saved = n
        await reader.until(lambda: len(relay.dials) == 4)
    assert [dial.cursor for dial in relay.dials] == [5, 7, 8, 9]


async def test_t25_consumer_too_slow_reconnects_from_what_is_saved(relay: FakeRelay) -> None:
    relay.publish(*range(1, 41))
    too_slow = error_frame("ConsumerTooSlow", "Stream consumer too slow")
    batches = [tuple(relay.log[n] for n in range(start, start + 10)) for start in (1, 11, 21)]
    relay.script.extend(Say((*batch, too_slow), code=1008) for batch in batches)
    async with reading(relay, saved=0) as reader:
        for last in (10, 20, 30):
            await reader.until(lambda last=last: reader.seqs[-1:] == [last])
            reader.saved = last + 1
        await reader.until(lambda: reader.seqs[-1:] == [40])
    assert reader.seqs == list(range(1, 41))
    assert reader.errors == ["ConsumerTooSlow"] * 3
    assert [dial.cursor for dial in relay.dials] == [0, 11, 21, 31]


async def test_t25_catching_up_in_spite_of_being_too_slow_does_not_lengthen_the_pause(
    relay: FakeRelay,
) -> None:
    timing = Timing(pause_min_s=0.01, pause_base_s=0.01, pause_cap_s=100)
    too_slow = error_frame("ConsumerTooSlow")
    relay.script.extend(Say((numbered(n), numbered(n + 1), too_slow), code=1008) for n in range(15))
    async with reading(relay, timing=timing) as reader:
        await reader.until(lambda: len(relay.dials) == 16, timeout_s=30)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4000])
async def test_closed_connection_is_opened_again_whatever_the_code(relay: FakeRelay, code: int) -> None:
    relay.script.append(Say((numbered(1),), code=code, reason="enough"))
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.connects == 2)
        assert str(code) in (reader.status.last_error or "")
    assert reader.seqs == [1]


async def test_connection_that_breaks_off_is_opened_again(relay: FakeRelay) -> None:
    async def break_off(connection: ServerConnection) -> None:
        await connection.send(numbered(1))
        await asyncio.sleep(0.05)
        connection.transport.abort()

    relay.script.append(break_off)
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.connects == 2)
    assert reader.seqs == [1]


async def test_server_that_closes_after_the_handshake_is_not_stormed(relay: FakeRelay) -> None:
    relay.script.extend(Say() for _ in range(1000))
    timing = Timing(healthy_after_s=60)
    source = parse_source(relay.url)
    chunks = stream(source, lambda: None, timing=timing, jitter=lambda: 0.0)  # the shortest pauses
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.1), aclosing(chunks):
            await anext(chunks)
    assert 2 <= len(relay.dials) <= 6
    gaps = [b.at - a.at for a, b in zip(relay.dials, relay.dials[1:], strict=False)]
    assert min(gaps) > 0.19


def test_pause_grows_with_full_jitter_up_to_a_cap() -> None:
    timing = Timing(pause_min_s=0.2, pause_base_s=1, pause_cap_s=60)
    assert [timing.pause_s(n, 0.0) for n in (0, 3, 100)] == [0.2, 0.2, 0.2]
    assert [timing.pause_s(n, 1.0) for n in (0, 1, 2, 5, 6, 100, 10**9)] == [1.2, 2.2, 4.2, 32.2, *[60.2] * 3]


@dataclass(frozen=True)
class Noted(Timing):
    """Knows which pauses it was asked for."""

    pauses_s: list[float] = field(default_factory=list[float])

    def pause_s(self, failures: int, jitter: float) -> float:
        self.pauses_s.append(super().pause_s(failures, jitter))
        return self.pauses_s[-1]


async def test_pause_grows_until_a_connection_was_healthy_for_a_while(relay: FakeRelay) -> None:
    async def stay(connection: ServerConnection) -> None:
        await asyncio.sleep(0.6)
        await connection.close(1000)

    relay.script.extend([Say(), Say(), stay, Say()])
    timing = Noted(pause_min_s=0.01, pause_base_s=0.05, healthy_after_s=0.5)
    status = SourceStatus(relay.url)
    chunks = stream(parse_source(relay.url), lambda: None, status, timing=timing, jitter=lambda: 0.999)
    reader = asyncio.create_task(anext(chunks))
    async with asyncio.timeout(30):
        while len(relay.dials) < 5:
            await asyncio.sleep(0.01)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    # The third connection was the healthy one: after it the pauses grow from the start.
    assert timing.pauses_s[:4] == pytest.approx([0.06, 0.11, 0.06, 0.11], rel=0.01)
    gaps = [b.at - a.at for a, b in zip(relay.dials, relay.dials[1:], strict=False)]
    assert gaps[1] > 0.1
    assert gaps[3] > 0.1
    assert status.attempts == 2


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 426, 429, 500, 502, 503])
async def test_refusal_is_shown_and_tried_again(relay: FakeRelay, code: int) -> None:
    relay.script.append(Refuse(code))
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.state is SourceState.CONNECTED)
        assert reader.status.last_error == f"refused with HTTP status {code}"
        assert (len(relay.dials), reader.status.connects, reader.status.attempts) == (2, 1, 2)


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_is_honoured(relay: FakeRelay, code: int) -> None:
    relay.script.append(Refuse(code, {"Retry-After": "1"}))
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.state is SourceState.WAITING)
        assert reader.status.next_attempt_at is not None
        assert 0.8 < reader.status.next_attempt_at - time.time() <= 1
        await reader.until(lambda: len(relay.dials) == 2)
    assert 1 <= relay.dials[1].at - relay.dials[0].at < 2


async def test_redirect_is_not_followed(relay: FakeRelay) -> None:
    async with FakeRelay() as other:
        location = {"Location": parse_source(other.url).url}
        relay.script.extend([Refuse(302, location), Refuse(307, location)])
        async with reading(relay) as reader:
            await reader.until(lambda: reader.status.connects == 1)
            assert reader.status.last_error == "refused with HTTP status 307"
        assert other.dials == []
    assert len(relay.dials) == 3


async def test_nobody_listening_is_shown_and_tried_again(relay: FakeRelay) -> None:
    async with FakeRelay() as gone:
        pass
    async with reading(gone) as reader:
        await reader.until(lambda: reader.status.attempts >= 3)
        assert "cannot connect" in (reader.status.last_error or "")
        assert reader.status.connects == 0


async def test_server_that_says_nothing_at_the_handshake_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # the kernel accepts, nobody answers
        async with reading(
            f"localhost:{mute.getsockname()[1]}", timing=replace(QUICK, open_timeout_s=0.1)
        ) as reader:
            await reader.until(lambda: reader.status.attempts >= 3)
            assert reader.status.last_error == "cannot connect: timed out during opening handshake"
            assert reader.status.connects == 0


# -- messages


async def test_a5_message_of_the_limit_passes_and_one_byte_more_drops_the_connection(
    relay: FakeRelay,
) -> None:
    base = len(numbered(1, 5_000_000 - 200))
    exact = numbered(1, 5_000_000 - 200 + MAX_MESSAGE_BYTES - base)
    assert len(exact) == MAX_MESSAGE_BYTES == 5_000_000
    relay.script.append(Say((exact, exact + b"\0", numbered(3)), code=None))
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.connects == 2)
        assert "1009" in (reader.status.last_error or "")
        relay.publish(4)
        await reader.until(lambda: reader.seqs[-1:] == [4])
    assert reader.frames[0] == exact
    assert reader.seqs == [1, 4]


async def test_a5_limit_counts_the_fragments_of_a_message_together(relay: FakeRelay) -> None:
    relay.script.append(Say(([b"\0" * 1_000_000] * 5 + [b"\0"],), code=None))
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.connects == 2)
        assert "1009" in (reader.status.last_error or "")
    assert reader.frames == []


async def test_fragmented_message_is_put_together(relay: FakeRelay) -> None:
    whole = numbered(1, 1000)
    relay.script.append(Say(([whole[:10], whole[10:500], whole[500:]], numbered(2)), code=None))
    async with reading(relay) as reader:
        await reader.until(lambda: len(reader.frames) == 2)
    assert reader.frames == [whole, numbered(2)]


async def test_text_message_is_dropped_counted_and_no_reason_to_reconnect(relay: FakeRelay) -> None:
    relay.script.append(Say((numbered(1), '{"seq": 2}', ["fragm", "ented"], numbered(3)), code=None))  # type: ignore[list-item]
    async with reading(relay) as reader:
        await reader.until(lambda: len(reader.frames) == 2)
        assert (reader.status.connects, reader.status.strays) == (1, 2)
        assert "wrong kind" in (reader.status.last_error or "")
    assert reader.seqs == [1, 3]
    assert len(relay.dials) == 1


async def test_source_of_nothing_but_text_is_shown_as_such(relay: FakeRelay) -> None:
    relay.script.append(Say(('{"seq": 1}', '{"seq": 2}'), code=None))
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.strays == 2)
        assert "wrong kind" in (reader.status.last_error or "")
        assert (reader.status.frames, reader.status.last_frame_at) == (0, None)
    assert reader.frames == []


async def test_bytes_that_are_no_frame_are_handed_on_and_do_not_end_the_stream(relay: FakeRelay) -> None:
    relay.script.append(Say((b"\xff\xff", b"", numbered(1)), code=None))
    async with reading(relay) as reader:
        await reader.until(lambda: len(reader.frames) == 3)
    assert reader.frames == [b"\xff\xff", b"", numbered(1)]
    assert len(relay.dials) == 1


async def test_error_frame_ends_the_connection_though_the_server_keeps_it_open(relay: FakeRelay) -> None:
    relay.script.append(Say((numbered(1), error_frame("Whatever", "for a reason")), code=None))
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.connects == 2)
        assert reader.status.last_error == "Whatever: for a reason"
    assert reader.errors == ["Whatever"]


async def test_frames_before_a_close_are_all_handed_over(relay: FakeRelay) -> None:
    relay.script.append(Say(tuple(numbered(n) for n in range(1, 3001))))
    async with reading(relay) as reader:
        await reader.until(lambda: reader.status.connects == 2)
    assert reader.seqs == list(range(1, 3001))


async def test_frames_come_in_order_over_tls_and_are_counted(authority: Authority) -> None:
    async with FakeRelay(authority.server_context("localhost")) as relay:
        relay.publish(*range(1, 2001), size=3000)
        async with reading(relay, saved=0, authority=authority) as reader:
            await reader.until(lambda: len(reader.frames) == 2000)
    assert reader.seqs == list(range(1, 2001))
    assert reader.frames == [relay.log[n] for n in range(1, 2001)]
    status = reader.status
    assert (status.frames, status.bytes) == (2000, sum(map(len, reader.frames)))
    assert status.last_frame_at is not None
    assert time.time() - status.last_frame_at < 10


async def test_certificate_of_nobody_we_know_is_refused(authority: Authority) -> None:
    async with (
        FakeRelay(Authority().server_context("localhost")) as relay,
        reading(relay, authority=authority) as reader,
    ):
        await reader.until(lambda: reader.status.attempts >= 2)
        assert "certificate" in (reader.status.last_error or "")
        assert relay.dials == []


# -- silence (A16, T26)


async def test_t26_silent_relay_that_answers_pings_stays_connected(relay: FakeRelay) -> None:
    timing = Timing(ping_after_s=0.03, ping_timeout_s=0.5, pause_base_s=0.01, pause_min_s=0.01)
    async with reading(relay, timing=timing) as reader:
        await reader.until(lambda: reader.status.connects == 1)
        await asyncio.sleep(1.5)  # three times the time in which a dead one is given up
        assert (len(relay.dials), reader.status.state) == (1, SourceState.CONNECTED)
        relay.publish(1)
        await reader.until(lambda: reader.seqs == [1])
        assert reader.status.last_error is None


async def test_t26_relay_that_answers_no_ping_is_given_up(relay: FakeRelay) -> None:
    deaf = 0

    async def go_deaf(connection: ServerConnection) -> None:
        nonlocal deaf
        deaf += 1
        connection.transport.pause_reading()
        await connection.wait_closed()

    relay.script.append(go_deaf)
    timing = Timing(ping_after_s=0.05, ping_timeout_s=0.2, pause_base_s=0.01, pause_min_s=0.01)
    started = time.monotonic()
    async with reading(relay, timing=timing) as reader:
        await reader.until(lambda: reader.status.connects == 2)
        assert 0.25 <= time.monotonic() - started < 10
        assert "no answer to a ping" in (reader.status.last_error or "")
    assert deaf == 1


async def test_t26_time_that_the_consumer_takes_is_not_the_relays_silence(relay: FakeRelay) -> None:
    relay.publish(*range(1, 3))
    timing = Timing(ping_after_s=0.05, ping_timeout_s=0.1, pause_base_s=0.01, pause_min_s=0.01)
    chunks = stream(parse_source(relay.url), lambda: 0, timing=timing)
    async with aclosing(chunks):
        seen = await anext(chunks)
        await asyncio.sleep(0.5)
        relay.publish(3)
        while len(seen) < 3:
            seen += await anext(chunks)
    assert seen == [relay.log[n] for n in (1, 2, 3)]
    assert len(relay.dials) == 1


# -- memory and tasks (T27)


@contextmanager
def no_more_tasks_than_now(more: int = 0) -> Iterator[Callable[[], None]]:
    before = len(asyncio.all_tasks())

    def check() -> None:
        assert len(asyncio.all_tasks()) <= before + more

    yield check
    check()


async def test_t27_slow_consumer_holds_up_the_sender_and_not_our_memory(relay: FakeRelay) -> None:
    count, size = 4000, 50_000  # 200 MB
    one = numbered(1, size)

    async def pour(connection: ServerConnection) -> None:
        for _ in range(count):
            await connection.send(one)
            relay.sent += 1

    relay.script.append(pour)
    chunks = stream(parse_source(relay.url), lambda: 0, timing=QUICK)
    with no_more_tasks_than_now(more=4) as check:  # those of the fake relay's connection
        async with aclosing(chunks):
            received = len(await anext(chunks))
            await asyncio.sleep(0.3)
            held = relay.sent
            await asyncio.sleep(0.2)
            assert relay.sent == held  # it stands still,
            assert held * size < 40_000_000  # with little in our hands and the sockets'
            check()
            while received < count:
                received += len(await anext(chunks))
                check()
    assert relay.sent == count
    assert len(relay.dials) == 1


async def test_closing_the_stream_closes_the_socket_at_once(relay: FakeRelay) -> None:
    relay.publish(1)
    status = SourceStatus(relay.url)
    chunks = stream(parse_source(relay.url), lambda: 0, status, timing=QUICK)
    assert await anext(chunks) == [relay.log[1]]
    started = time.monotonic()
    await chunks.aclose()
    assert time.monotonic() - started < 3
    assert status.state is SourceState.STOPPED
    async with asyncio.timeout(30):
        while not relay.closed:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("moment", ["dialling", "reading", "waiting"])
async def test_cancelling_ends_it_at_once(relay: FakeRelay, moment: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        if moment == "waiting":
            relay.script.append(Refuse(503, {"Retry-After": "60"}))
        where = f"localhost:{mute.getsockname()[1]}" if moment == "dialling" else relay
        state = {
            "dialling": SourceState.CONNECTING,
            "reading": SourceState.CONNECTED,
            "waiting": SourceState.WAITING,
        }[moment]
        async with reading(where) as reader:
            await reader.until(lambda: reader.status.state is state)
            await asyncio.sleep(0.05)
            assert reader.status.state is state
            started = time.monotonic()
        assert time.monotonic() - started < 3


async def test_info_and_unknown_frames_pass_through(relay: FakeRelay) -> None:
    strange = (frame("#future", {"x": 1}, 8), frame("#info", {"name": "Other"}, 0), numbered(9))
    relay.script.append(Say(strange, code=None))
    async with reading(relay) as reader:
        await reader.until(lambda: len(reader.frames) == 3)
    assert reader.frames == list(strange)
