"""Which addresses of sound are passed on, and what becomes of rendered members whose address is not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from appview.sound_origins import ANYWHERE, SoundOrigins
from indexer.cards import members
from indexer.rest_card import track_rest
from lexicons.syntax import AtUri, Cid, Did
from tests.unit.firehose.test_net import REFUSED_ALWAYS, REFUSED_IN_PRODUCTION

DID = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
URI = AtUri(f"at://{DID}/fm.plyr.track/3k2a")
CID = Cid("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
OURS = "http://127.0.0.1:8000"
FAR, GOOD = "https://evil.example/a.mp3", "https://audio.plyr.fm/a.mp3"
FEW = SoundOrigins(["https://*.plyr.fm", "https://one.example", "https://two.example:80"], own=[OURS])

ALLOWED = [
    GOOD,
    "https://a.b.plyr.fm",
    "HTTPS://Audio.PLYR.fm:443/a",
    "https://one.example/a?b=//c",
    "https://two.example:80/a",
    f"{OURS}/audio/{'a' * 64}",
]
NOT_ALLOWED = [
    FAR,
    "https://plyr.fm/a",
    "https://notplyr.fm/a",
    "https://plyr.fm.evil.example/a",
    "https://audio.plyr.fm.evil.example/a",
    "https://evil.example?.plyr.fm/a",
    "https://evil.example#.plyr.fm/a",
    "https://evil.example\\.plyr.fm/a",
    "https://audio.plyr.fm@evil.example/a",
    "https://audio.plyr.fm:80/a",
    "https://audio.plyr.fm\t.evil.example/a",
    "http://audio.plyr.fm/a",
    "http://one.example/a",
    "https://sub.one.example/a",
    "https://two.example/a",
    "http://127.0.0.1:8001/a",
    "//audio.plyr.fm/a",
    "audio.plyr.fm/a",
    "javascript:alert(1)//audio.plyr.fm/",
    "https://" + "a." * 200 + "plyr.fm/",
]


def test_an_origin_that_is_named_is_allowed_and_every_host_below_a_wildcard() -> None:
    for _ in range(2):  # the second time by heart
        assert {url: FEW.allows(url) for url in ALLOWED} == dict.fromkeys(ALLOWED, True)
        assert {url: FEW.allows(url) for url in NOT_ALLOWED} == dict.fromkeys(NOT_ALLOWED, False)


def test_anywhere_is_where_the_guarded_client_would_go() -> None:
    anywhere = SoundOrigins([ANYWHERE])
    assert anywhere.allows(FAR)
    before_the_path = [
        url for url in REFUSED_ALWAYS if url not in ("https://example.com/a b", "https://example.com/\n")
    ]
    skipped = {"https://example.com/\r\nHost: localhost", "https://example.com/#fragment"}
    for url in (*before_the_path, *REFUSED_IN_PRODUCTION):
        assert url in skipped or not anywhere.allows(url), url
    assert SoundOrigins([ANYWHERE], allow_loopback=True).allows("http://127.0.0.1:2583/a")
    assert not SoundOrigins([], own=[]).allows(FAR)


def rest(**fields: Any) -> bytes:
    record = {"title": '"r2_url":"x', "fileType": "mp3", "createdAt": "2026-03-01T00:00:00Z"}
    made = track_rest(record | fields, uri=URI, did=DID, cid=CID, pds="https://pds.example")
    return made.rest.encode()


BLOB = {"$type": "blob", "ref": {"$link": CID}, "mimeType": "audio/mpeg", "size": 3}
SLY = {"audio_storage": "pds", "r2_url": GOOD}


@pytest.mark.parametrize("far", [FAR, 'https://evil.example/"a\\"', "https://evil.example"])
@pytest.mark.parametrize(
    "more", [{}, {"audioBlob": BLOB}, {"supportGate": SLY}, {"description": '"audio_storage":"pds"'}]
)
def test_rest_members_lose_an_address_that_is_not_allowed_and_nothing_else(
    far: str, more: dict[str, Any]
) -> None:
    before = rest(audioUrl=far, **more)
    after = orjson.loads(b"{%b}" % FEW.in_rest(before))
    assert after == orjson.loads(b"{%b}" % before) | {"r2_url": None}
    good = rest(audioUrl=GOOD, **more)
    assert FEW.in_rest(good) is good


def test_rest_members_keep_the_address_of_a_blob() -> None:
    of_a_blob = rest(audioBlob=BLOB)
    assert b"pds.example/xrpc/com.atproto.sync.getBlob" in of_a_blob
    assert FEW.in_rest(of_a_blob) is of_a_blob


@pytest.mark.parametrize("sly", [SLY, {"r2_url": FAR}])
def test_rest_members_without_an_address_stay_whatever_a_stranger_named_behind_it(
    sly: dict[str, Any],
) -> None:
    record = {"title": "x", "fileType": "mp3", "createdAt": "", "audioUrl": f"{OURS}/{'ab' * 32}"}
    nowhere = track_rest(
        record | {"supportGate": sly},
        uri=URI, did=DID, cid=CID, pds="https://pds.example", withheld=["ab" * 32],
    ).rest.encode()  # fmt: skip
    assert b'"r2_url":null' in nowhere
    assert FEW.in_rest(nowhere) is nowhere
    assert FEW.pass_all(nowhere)


@pytest.mark.parametrize(
    "far",
    [
        FAR,
        "https://evil.example",
        'https://evil.example/"a\\"',
        "https://audio.plyr.fm.evil.example/a",
        "https://audio.plyr.fm@evil.example/a",
        "https://audio.plyr.fm:80/a",
    ],
)
def test_a_page_passes_if_each_of_its_tracks_would(far: str) -> None:
    anew = SoundOrigins(["https://*.plyr.fm"])
    good, blob, bad = (
        rest(audioUrl=GOOD, supportGate=SLY),
        rest(audioBlob=BLOB),
        rest(audioUrl=far, supportGate=SLY),
    )
    another = rest(audioUrl="https://other.plyr.fm/a.mp3")
    for _ in range(2):  # the second time by heart
        for page in ([], [good], [good, blob, good], [blob], [good, another, good], [blob, another]):
            assert anew.pass_all(b",\n".join(page))
        for page in ([bad], [good, bad], [bad, good], [blob, bad, blob]):
            assert not anew.pass_all(b",\n".join(page))


def card(audio: dict[str, Any], /, **record: Any) -> bytes:
    return members(
        {"uri": URI, "record": record, "verified": True, "audio": audio, "image": '"audio":{'}
    ).encode()


@pytest.mark.parametrize("far", [FAR, 'https://evil.example/"a\\"', "https://evil.example"])
@pytest.mark.parametrize("more", [{}, {"mimeType": "audio/mpeg", "durationS": 3}])
def test_a_card_loses_an_address_that_is_not_allowed_and_nothing_else(far: str, more: dict[str, Any]) -> None:
    sly = {"audio": {"url": GOOD}, "audioUrl": far}
    before = card({"url": far} | more, **sly)
    assert orjson.loads(b"{%b}" % FEW.in_card(before)) == orjson.loads(b"{%b}" % before) | {"audio": more}
    for kept in (card({"url": GOOD} | more, audioUrl=GOOD), card(more, **sly)):
        assert FEW.in_card(kept) is kept


def test_a_card_keeps_the_address_of_a_blob() -> None:
    of_a_blob = card({"url": f"https://pds.example/xrpc/com.atproto.sync.getBlob?did={DID}&cid={CID}"}, a=1)
    assert FEW.in_card(of_a_blob) is of_a_blob
