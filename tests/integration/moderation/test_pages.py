"""Cases on the web: who may see them, what a browser without scripts makes of them, and what follows."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from psycopg.types.json import Jsonb

from appview.moderation.decisions import Policy
from appview.moderation.notices import Claim, receive
from appview.moderation.scanning import Came
from lexicons.subject import read_subject
from storage.moderation import Proof
from storage.sessions import Kind
from tests.acceptance.browser import opened
from tests.acceptance.service import until
from tests.devnet.records import tid
from tests.fakenet.world import Author
from tests.integration.appview.uploads.studio import SCOPE, add_key, bearer
from tests.integration.moderation.asked import groups, song
from tests.integration.moderation.court import CATALOG, MAX, MOLLY, Court, sha256, sitting
from tests.music import aiff, ffmpeg, music

MATCHED = groups(
    ("00:00", [song()]), ("00:12", [song(timecode="01:24")]), ("00:24", [song("Elegia", isrc=None)])
)
FALSE_POSITIVE, ORIGINAL_ARTIST, VIOLATION = "false positive", "original artist", "violation"
FLAGS = {FALSE_POSITIVE: 11, ORIGINAL_ARTIST: 6, VIOLATION: 8}
KEYS = {FALSE_POSITIVE: "p", ORIGINAL_ARTIST: "o", VIOLATION: "v"}
LENGTH_S = 40


@pytest.fixture
async def case(court: Court) -> int:
    """Of a track of Ann's."""
    ann = Author("ann")
    uri = await court.publish(ann, tid(1), "Blue Tuesday", b"blue")
    await court.named(ann, "ann.test")
    assert (await court.scan(uri, MATCHED)).came is Came.FLAGGED
    return await court.case(uri)


async def sound(folder: Path) -> bytes:
    source = aiff(folder / "a.aiff", music(LENGTH_S))
    await ffmpeg("-i", source, "-c:a", "libmp3lame", "-b:a", "96k", folder / "a.mp3")
    return (folder / "a.mp3").read_bytes()


def tagged(data: bytes, title: str) -> bytes:
    """The same sound as another file: an ID3v1 tag is its last 128 bytes."""
    return data + b"TAG" + title.encode().ljust(125, b"\0")[:125]


async def press_access_key(page: Page, letter: str) -> None:
    """As a keyboard does it: Alt with a letter that is no text."""
    devtools = await page.context.new_cdp_session(page)
    upper = letter.upper()
    key = {
        "modifiers": 1, "key": letter, "code": f"Key{upper}", "windowsVirtualKeyCode": ord(upper),
        "text": letter, "unmodifiedText": letter,
    }  # fmt: skip
    for kind in ("rawKeyDown", "char", "keyUp"):
        await devtools.send("Input.dispatchKeyEvent", {"type": kind, **key})
    await devtools.detach()


async def listen_to_second_match(page: Page) -> None:
    """Nothing of the page runs, not even a timer: whether it plays on is looked at from outside."""
    link = page.get_by_role("link", name="0:12", exact=True)
    await link.click()
    player = page.locator("audio")
    assert (await player.get_attribute("src") or "").endswith("/sound#t=12.35")
    await until(lambda: player.evaluate("a => a.currentTime > 12.5"), 20, "it to play on")
    await expect(link).to_have_attribute("aria-current", "true")


@pytest.mark.chromium
@pytest.mark.timeout(180)
async def test_25_flags_are_reviewed_in_a_browser_without_scripts_and_8_11_6_are_in_the_summary(
    court: Court, tmp_path: Path
) -> None:
    heard = await sound(tmp_path)
    truths = [truth for truth, count in FLAGS.items() for _ in range(count)]
    random.Random(25).shuffle(truths)
    authors = [Author(f"artist {n}") for n in range(13)]
    uris: dict[str, str] = {}
    expected: dict[str, str] = {}
    cases: dict[str, int] = {}
    for n, truth in enumerate(truths):
        title = f"Song {n:02d}"
        uri = await court.publish(authors[n % 13], tid(n), title, tagged(heard, title))
        assert (await court.scan(uri, MATCHED)).came is Came.FLAGGED
        uris[title], expected[title], cases[title] = uri, truth, await court.case(uri)
    assert len(court.audd.heard) == 25

    async with opened() as browser:
        page = await court.tab(browser, await court.key(), java_script_enabled=False)
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        await page.goto(f"{court.url}/moderation")
        assert await page.locator(".cases .title").count() == 25
        assert await page.locator(".cases .title").first.evaluate("e => e === document.activeElement")
        await page.keyboard.press("Enter")
        for n in range(25):
            title = await page.locator("h1").inner_text()
            assert title == f"Song {n:02d}"  # those that wait longest come first
            await expect(page.locator(".sides")).to_contain_text("Blue Monday")
            if n == 0:
                await listen_to_second_match(page)
            await page.get_by_label("Note").fill(f"heard {title}")
            await press_access_key(page, KEYS[expected[title]])
            await page.wait_for_url(re.compile(rf"done={cases[title]}\b"))
        await expect(page.get_by_role("status")).to_contain_text("is decided")
        await page.goto(f"{court.url}/moderation")
        await expect(page.locator(".empty")).to_contain_text("Nothing waits")
        figures = [await each.inner_text() for each in await page.locator(".figures div").all()]
        assert [re.sub(r"\s+", " ", each) for each in figures] == [
            "Open 0", "Violation 8", "False positive 11", "Original artist 6", "No action 0",
        ]  # fmt: skip
        await page.goto(f"{court.url}/transparency")
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="a scan"))
        assert (await row.inner_text()).split() == ["a", "scan", "25", "8", "11", "6", "0"]
        await page.set_viewport_size({"width": 390, "height": 844})
        for each in [*await page.locator("table").all(), page.locator("svg:visible").last]:
            box = await each.bounding_box()
            assert box is not None
            assert 0 <= box["x"] < box["x"] + box["width"] <= 390
        assert [text for text in said if "favicon" not in text] == []

    made = await court.rows(
        "select resolution, count(*), count(distinct reviewed_by) from copyright_scan group by 1"
    )
    assert sorted(made) == [("false_positive", 11, 1), ("original_artist", 6, 1), ("violation", 8, 1)]
    shown = await court.ask("GET", "/xrpc/fm.plyr.feed.getLatest?limit=100")
    titles = {view["record"]["title"] for view in shown.json["tracks"]}
    assert titles == {title for title, truth in expected.items() if truth != VIOLATION}
    labels = (await court.ask("GET", "/xrpc/com.atproto.label.queryLabels?uriPatterns=*&limit=250")).json
    assert {(each["uri"], each["val"]) for each in labels["labels"]} == {
        (uris[title], "copyright-violation") for title, truth in expected.items() if truth == VIOLATION
    }
    counted = (await court.ask("GET", "/transparency.json")).json
    assert counted["decided"] == {
        "violation": 8, "false_positive": 11, "original_artist": 6, "no_action": 0,
    }  # fmt: skip
    assert (counted["opened"], counted["open"]) == (25, 0)
    assert [month["actions"] for month in counted["months"]] == [{"takedown": 8}]


async def test_only_moderators_who_are_signed_in_here_see_anything(court: Court, case: int) -> None:
    pages = ("/moderation", f"/moderation/cases/{case}", f"/moderation/cases/{case}/sound")
    stranger = await court.key(Author("somebody").did)
    for path in pages:
        nobody = await court.ask("GET", path)
        assert nobody.status == 303
        assert nobody.headers["Location"].startswith("/sign-in?return_to=/moderation")
        unknown = await court.ask("GET", "/no-such-page", stranger)
        hidden = await court.ask("GET", path, stranger)
        assert (hidden.status, hidden.body) == (unknown.status, unknown.body) == (404, unknown.body)
        by_program = await court.ask("GET", path, headers=bearer(await court.key()))
        assert by_program.status == 404
        token = await add_key(court.dsn, MOLLY, scope=SCOPE, granted=True, kind=Kind.TOKEN)
        assert (await court.ask("GET", path, token)).status == 404
        assert (await court.ask("GET", path, await court.key())).status == 200
    refused = await court.decide(stranger, case, "takedown")
    assert refused.status == 404
    assert await court.rows("select state from moderation_case") == [("open",)]
    account = await court.ask("GET", "/account", await court.key())
    assert b'href="/moderation"' in account.body
    assert b'href="/moderation"' not in (await court.ask("GET", "/account", stranger)).body


async def test_without_moderators_there_are_no_such_pages(database: str, tmp_path: Path) -> None:
    async with sitting(database, tmp_path, moderators="") as court:
        assert (await court.ask("GET", "/moderation", await court.key())).status == 404
        assert (await court.ask("GET", "/transparency")).status == 200


async def test_whoever_signs_in_comes_back_to_the_page_that_they_wanted(court: Court) -> None:
    page = await court.ask("GET", "/sign-in?return_to=/moderation/cases/1")
    assert b'<input type="hidden" name="return_to" value="/moderation/cases/1">' in page.body
    page = await court.ask("GET", "/sign-in?return_to=//elsewhere.test/")
    assert b"return_to" not in page.body


async def test_a_form_of_another_site_decides_nothing(court: Court, case: int) -> None:
    key = await court.key()
    for headers in ({"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        data = {"act": "takedown", "seen": "999"}
        answer = await court.ask("POST", f"/moderation/cases/{case}", key, data=data, headers=headers)
        assert answer.status == 403
    assert await court.rows("select state from moderation_case") == [("open",)]


async def test_of_two_moderators_the_second_is_told_what_the_first_decided(court: Court, case: int) -> None:
    molly, max_ = await court.key(MOLLY), await court.key(MAX)
    seen = (await court.rows("select max(id) from moderation_event"))[0][0]
    first = await court.decide(molly, case, "false_positive", seen=seen, note="not it")
    assert (first.status, first.headers["Location"]) == (303, f"/moderation/cases/{case}?done={case}")
    second = await court.decide(max_, case, "takedown", seen=seen, note="it is <b>it</b>")
    assert second.status == 409
    assert b"That was not done." in second.body
    assert b"it is &lt;b&gt;it&lt;/b&gt;" in second.body  # what they wrote is still there
    assert b"not it" in second.body
    rows = await court.rows("select resolution, resolved_by from moderation_case")
    assert rows == [("false_positive", MOLLY)]


async def test_what_is_down_is_heard_by_moderators_alone_and_comes_back(court: Court, case: int) -> None:
    key, file = await court.key(), f"/audio/{sha256(b'blue')}"
    alone = f"/moderation/cases/{case}/sound"
    assert (await court.ask("GET", file)).status == 200
    assert (await court.decide(key, case, "takedown", reason="copyright", note="theirs")).status == 303
    shown = await court.ask("GET", f"/moderation/cases/{case}", key)
    assert b"taken down" in shown.body
    assert b"Blue Tuesday" in shown.body  # out of the record, which is kept
    part = await court.ask("GET", alone, key, headers={"Range": "bytes=1-2"})
    assert (part.status, part.body) == (206, b"lu")
    assert part.headers["Cache-Control"] == "private, no-store"
    assert "Access-Control-Allow-Origin" not in part.headers
    assert (await court.ask("GET", "/xrpc/fm.plyr.feed.getLatest")).json["tracks"] == []

    async def gone() -> bool:
        return (await court.ask("GET", file)).status == 404

    await until(gone, 5, "its sound to be out of sight")
    assert (await court.decide(key, case, "false_positive")).status == 409  # it must be restored for that
    assert (await court.decide(key, case, "restore_false_positive", note="sorry")).status == 303
    assert len((await court.ask("GET", "/xrpc/fm.plyr.feed.getLatest")).json["tracks"]) == 1
    shown = await court.ask("GET", f"/moderation/cases/{case}", key)
    assert [each in shown.body for each in (b"theirs", b"sorry", b"Restored: false positive")] == [
        True,
        True,
        True,
    ]
    assert (await court.rows("select resolution from copyright_scan")) == [("false_positive",)]


async def test_a_track_is_taken_off_the_lists_and_the_case_stays(court: Court, case: int) -> None:
    key, latest = await court.key(), "/xrpc/fm.plyr.feed.getLatest"
    page = f"/moderation/cases/{case}"
    assert b'value="relist"' not in (await court.ask("GET", page, key)).body
    done = await court.decide(key, case, "delist", reason="sexual")
    assert (done.status, done.headers["Location"]) == (303, page)
    shown = (await court.ask("GET", page, key)).body
    assert all(each in shown for each in (b'value="relist"', b"Unlisted", b"only among its artist"))
    assert b'value="delist"' not in shown
    assert (await court.ask("GET", latest)).json["tracks"] == []
    assert (await court.decide(key, case, "relist")).status == 303
    assert len((await court.ask("GET", latest)).json["tracks"]) == 1
    assert b"Listed again" in (await court.ask("GET", page, key)).body
    assert await court.rows("select state from moderation_case") == [("open",)]
    (month,) = (await court.ask("GET", "/transparency.json")).json["months"]
    assert month["actions"] == {"delist": 1, "relist": 1}


async def test_a_note_decides_nothing_and_odd_forms_do_nothing(court: Court, case: int) -> None:
    key = await court.key()
    noted = await court.decide(key, case, "note", note="ask \x00 Max")
    assert noted.headers["Location"] == f"/moderation/cases/{case}"
    assert (await court.decide(key, case, "burn")).status == 409
    assert (await court.decide(key, case, "note", note="x" * 70_000)).status == 413
    events = await court.rows("select action, actor, proof, note from moderation_event order by id")
    assert events[1:] == [("note", MOLLY, "session", "ask  Max")]
    for path in ("0", "-1", "x", "99999999999999999999", "9223372036854775807"):
        assert (await court.ask("GET", f"/moderation/cases/{path}", key)).status == 404
    for query in ("t=nan", "t=-1", "t=1e99", "t=x", "done=x", "done=7"):
        assert (await court.ask("GET", f"/moderation/cases/{case}?{query}", key)).status == 200


async def test_who_claims_a_right_and_until_when_stands_on_the_case(court: Court, case: int) -> None:
    uri = (await court.rows("select subject from moderation_case"))[0][0]
    claim = Claim(read_subject(uri), "Factory <law@factory.test>", "It is <i>ours</i>.")
    policy = Policy(CATALOG, None)
    async with court.pool.connection() as conn:
        await receive(
            conn, claim, policy, actor="operator", proof=Proof.COMMAND, now=datetime(2026, 3, 2, tzinfo=UTC)
        )
    page = (await court.ask("GET", f"/moderation/cases/{case}", await court.key())).body.decode()
    for text in ("Factory &lt;law@factory.test&gt;", "It is &lt;i&gt;ours&lt;/i&gt;.", "due on 5 Mar 2026"):
        assert text in page
    seen = (await court.ask("GET", "/transparency")).body + (
        await court.ask("GET", "/transparency.json")
    ).body
    assert b"Factory" not in seen
    assert b'"notice":1' in seen


async def test_a_track_here_that_sounds_the_same_is_a_link(court: Court, case: int) -> None:
    bob = Author("bob")
    uri = await court.publish(bob, tid(2), "The first", b"first")
    ours = {
        "artist": "Bob", "title": "The first", "source": "plyr", "did": bob.did, "rkey": tid(2),
        "offset_ms": 3000, "length_ms": 20_000, "confidence": 0.98, "timecode": "00:01",
    }  # fmt: skip
    await court.rows(
        "update copyright_scan set matches = %s, dominant = %s, dominant_share = 1 returning id",
        Jsonb([ours]),
        Jsonb(ours),
    )
    number = (await court.rows("select t.id from track t where t.title = 'The first'"))[0][0]
    page = (await court.ask("GET", f"/moderation/cases/{case}", await court.key())).body.decode()
    assert f'<a href="/track/{number}">A track here</a> <code>{uri}</code>' in page
    assert "0:20 long, 98 % sure" in page


async def test_the_public_counts_name_nobody(court: Court, case: int) -> None:
    key = await court.key()
    await court.decide(key, case, "takedown", note="Xylonote", reason="copyright")
    for path in ("/transparency", "/transparency.json"):
        answer = await court.ask("GET", path)
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        for private in (b"Xylonote", b"ann.test", b"did:plc", b"at://", b"Blue"):
            assert private not in answer.body


async def test_the_queue_pages_and_says_what_was_decided(court: Court) -> None:
    ann = Author("ann")
    for n in range(52):
        uri = await court.publish(ann, tid(n), f"Song {n:02d}", b"%d" % n)
        await court.scan(uri, MATCHED)
    key = await court.key()
    first = await court.ask("GET", "/moderation", key)
    titles = re.findall(r"Song \d\d", first.body.decode())
    assert titles == [f"Song {n:02d}" for n in range(50)]
    more = re.search(r'href="(/moderation\?beyond=\d+)"', first.body.decode())
    assert more is not None
    second = await court.ask("GET", more[1], key)
    assert re.findall(r"Song \d\d", second.body.decode()) == ["Song 50", "Song 51"]
    case = await court.case(ann.uri("fm.plyr.track", tid(3)))
    await court.decide(key, case, "original_artist")
    decided = await court.ask("GET", "/moderation?show=decided", key)
    assert re.findall(r"Song \d\d", decided.body.decode()) == ["Song 03"]
    assert b"Original artist" in decided.body
