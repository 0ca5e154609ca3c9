"""What the client makes of each answer, over a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from appview.moderation.audd import Audd, AuddFailed
from firehose.net import GuardedClient
from storage.scans import ErrorKind, Match, Verdict
from tests.integration.moderation.asked import TOKEN, Asked, asked, error, groups, song, success

SOUND = "https://plyr.example/audio/" + "ab" * 32


@pytest.fixture
async def server() -> AsyncIterator[Asked]:
    async with asked() as server:
        yield server


async def ask(server: Asked, *, timeout_s: float = 10, max_bytes: int = 1 << 20) -> Verdict:
    async with GuardedClient(True) as http:
        client = Audd(http, server.url, TOKEN, timeout_s=timeout_s, max_bytes=max_bytes)
        return await client.identify(SOUND)


async def refused(server: Asked, **options: float) -> AuddFailed:
    with pytest.raises(AuddFailed) as caught:
        await ask(server, **options)  # type: ignore[arg-type]
    assert TOKEN not in str(caught.value)
    assert TOKEN not in (caught.value.raw or "")
    return caught.value


async def test_it_is_asked_with_a_form_of_token_address_and_accurate_offsets(server: Asked) -> None:
    await ask(server)
    assert server.heard == [{"api_token": TOKEN, "url": SOUND, "accurate_offsets": "1"}]


async def test_groups_of_songs_become_matches_at_their_place_in_our_sound(server: Asked) -> None:
    server.says(
        groups(
            ("00:00", [song()]),
            ("00:12", []),
            ("01:00:24", [song(), song("Temptation", isrc=None, album="")]),
        )
    )
    verdict = await ask(server)
    monday = Match("New Order", "Blue Monday", "Substance", "GBAAP8300002", "01:12", 350)
    late_ms = (3600 + 24) * 1000 + 350
    temptation = Match("New Order", "Temptation", None, None, "01:12", late_ms)
    assert verdict.matches[0] == monday
    assert verdict.matches[1].offset_ms == late_ms
    assert verdict.matches[2] == temptation
    assert verdict.dominant == monday
    assert verdict.dominant_share == 1.0  # of the two parts with a match
    assert verdict.is_flagged
    assert '"Blue Monday"' in (verdict.raw or "")


async def test_a_song_alone_is_a_match_and_so_is_a_list_of_songs(server: Asked) -> None:
    server.says(success(song(start_offset=None)))
    assert (await ask(server)).matches == (
        Match("New Order", "Blue Monday", "Substance", "GBAAP8300002", "01:12", None),
    )
    server.says(success([song(), song("Temptation")]))
    assert [match.title for match in (await ask(server)).matches] == ["Blue Monday", "Temptation"]


@pytest.mark.parametrize("result", [None, [], {}, [{"offset": "00:00", "songs": []}], [{"songs": None}]])
async def test_nothing_is_a_verdict_that_is_clear(server: Asked, result: object) -> None:
    server.says(success(result))
    verdict = await ask(server)
    assert (verdict.matches, verdict.dominant, verdict.dominant_share) == ((), None, None)
    assert not verdict.is_flagged


async def test_the_dominant_match_is_what_most_parts_are_taken_for(server: Asked) -> None:
    other = song("Elegia", offset="x")
    server.says(
        groups(
            ("00:00", [other, other, other]),  # one part is one part
            ("00:12", [song("BLUE  monday")]),
            ("00:24", [song()]),
            ("00:36", [song("Ceremony")]),
            ("00:48", []),
        )
    )
    verdict = await ask(server)
    assert verdict.dominant is not None
    assert verdict.dominant.title == "BLUE  monday"
    assert verdict.dominant_share == 0.5


@pytest.mark.parametrize("offset", ["soon", "1:2:3:4", "-1", -5, True, [], 1e300, "99999999"])
async def test_an_offset_that_is_none_is_left_out_and_the_match_stays(server: Asked, offset: object) -> None:
    server.says(success([{"offset": offset, "songs": [song(start_offset="x")]}]))
    assert [match.offset_ms for match in (await ask(server)).matches] == [None]


async def test_nul_and_endless_names_can_be_kept(server: Asked) -> None:
    server.says(success([{"offset": 12_000, "songs": [song("a\0b", "x" * 9000, start_offset=0)]}]))
    verdict = await ask(server)
    (match,) = verdict.matches
    assert (match.title, len(match.artist), match.offset_ms) == ("ab", 500, 12_000)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (900, ErrorKind.TOKEN),
        (901, ErrorKind.QUOTA),
        ("902", ErrorKind.QUOTA),
        (600, ErrorKind.SOUND),
        (500, ErrorKind.SOUND),
        (300, ErrorKind.SOUND),
        (100, ErrorKind.AWAY),
        ([], ErrorKind.AWAY),
    ],
)
async def test_its_errors_are_told_apart_by_their_code(server: Asked, code: int, kind: ErrorKind) -> None:
    server.says(error(code, f"something about {TOKEN}"))
    failed = await refused(server)
    assert failed.kind is kind
    assert "something about …" in str(failed)
    assert '"api_token":"…"' in (failed.raw or "")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, ErrorKind.AWAY),
        (503, ErrorKind.AWAY),
        (429, ErrorKind.QUOTA),
        (402, ErrorKind.QUOTA),
        (401, ErrorKind.TOKEN),
        (403, ErrorKind.TOKEN),
        (404, ErrorKind.ANSWER),
        (302, ErrorKind.ANSWER),
    ],
)
async def test_other_statuses_are_told_apart_and_a_wait_that_is_asked_for_is_told(
    server: Asked, status: int, kind: ErrorKind
) -> None:
    server.says(b"<html>no</html>", status, Retry_After="120")
    failed = await refused(server)
    assert (failed.kind, failed.wait_s, failed.raw) == (kind, 120, "<html>no</html>")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff\xfe", b"<html>", b"[]", b"7", b'{"status":"success"}', b'{"result":null}',
        success("x"), success([7]), success([{"songs": 7}]), success([{"songs": [7]}]),
        success([{"songs": [{}]}]),
    ],
)  # fmt: skip
async def test_garbage_is_an_error_and_never_clear(server: Asked, body: bytes) -> None:
    server.says(body)
    failed = await refused(server)
    assert failed.kind is ErrorKind.ANSWER
    assert failed.raw is not None


async def test_an_error_without_a_reason_is_one(server: Asked) -> None:
    server.says(b'{"status":"error"}')
    assert "no reason is given" in str(await refused(server))


async def test_who_is_slow_says_too_much_or_is_not_there_is_an_error(server: Asked) -> None:
    server.says(groups(("00:00", [song("x" * 5000)])))
    assert (await refused(server, max_bytes=4096)).kind is ErrorKind.ANSWER
    server.hangs = True
    assert (await refused(server, timeout_s=0.2)).kind is ErrorKind.AWAY
    server.url = "http://127.0.0.1:1"
    assert (await refused(server)).kind is ErrorKind.AWAY
