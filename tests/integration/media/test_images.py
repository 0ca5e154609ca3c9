"""Pictures, good and hostile, through the real decoder in its own process, and into a real store."""

from __future__ import annotations

import asyncio
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from appview.jobs.images import render_images
from appview.jobs.tasks import Done
from appview.media.failures import LimitExceeded, MediaFailed, NotImage, TooLarge, Truncated, Unreadable
from appview.media.ffmpeg import Limits
from appview.media.images import MOST_BYTES, MOST_SIDE, WIDTHS, Drawn, Prepared, prepare, store_image
from storage import images
from storage.blobs import rows
from storage.blobs.audit import audit
from storage.blobs.collector import collect
from storage.blobs.filesystem import FilesystemStore
from storage.postgres import Connection, make_pool
from tests.integration.media.test_confined import processes

GENEROUS = Limits(cpu_s=60, wall_s=120, memory_bytes=1 << 30, file_bytes=64 << 20)
CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
SECRET = b"a place at 52.5200 north"


def quarters(width: int, height: int) -> Image.Image:
    """Red, green, blue and yellow, by rows."""
    made = Image.new("RGB", (width, height))
    for number, colour in enumerate(CORNERS):
        x, y = number % 2 * (width // 2), number // 2 * (height // 2)
        made.paste(colour, (x, y, x + width // 2, y + height // 2))
    return made


def corners(image: Image.Image) -> tuple[int, ...]:
    """Which of CORNERS each quarter is nearest to."""
    rgb = image.convert("RGB")
    found: list[int] = []
    for y in (1, 3):
        for x in (1, 3):
            pixel = np.array(rgb.getpixel((image.width * x // 4, image.height * y // 4)))
            found.append(min(range(4), key=lambda number: int(np.abs(pixel - CORNERS[number]).sum())))
    return tuple(found)


def photo(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    wave = 127 + 100 * np.sin(x / 40) * np.cos(y / 30)
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, wave], -1).astype(np.uint8))


def with_secret() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif.get_ifd(0x8825)[1] = "N"
    return exif


async def drawn(path: Path, *, max_bytes: int = MOST_BYTES) -> Prepared:
    return await prepare(path, Path(tempfile.mkdtemp(dir=path.parent)), max_bytes=max_bytes)


def opened(made: Drawn) -> Image.Image:
    image = Image.open(made.path)
    image.load()
    assert (image.size, Image.MIME[image.format or ""]) == ((made.width, made.height), made.mime)
    return image


def same(one: Image.Image, other: Image.Image, *, most: float) -> bool:
    """Whether the mean difference of a channel, of 255, is at most this."""
    pair = [np.asarray(image.convert("RGBA"), dtype=np.int16) for image in (one, other)]
    return float(np.abs(pair[0] - pair[1]).mean()) <= most


@pytest.mark.parametrize(
    ("suffix", "mime", "options", "most"),
    [
        ("jpg", "image/jpeg", {"quality": 80}, 0.7),
        ("png", "image/png", {}, 0),
        ("webp", "image/webp", {"quality": 80}, 2),
        ("webp", "image/webp", {"lossless": True}, 0),
        ("gif", "image/png", {}, 0),
    ],
)
async def test_each_format_comes_out_as_it_went_in(
    tmp_path: Path, suffix: str, mime: str, options: dict[str, Any], most: float
) -> None:
    path = tmp_path / f"cover.{suffix}"
    photo(900, 600).save(path, **options)
    made = await drawn(path)
    assert (made.published.mime, made.published.width, made.published.height) == (mime, 900, 600)
    with Image.open(path) as before:
        assert same(before, opened(made.published), most=most)
    assert [(each.width, each.height, each.mime) for each in made.renditions] == [
        (640, 427, "image/webp"), (320, 213, "image/webp"), (160, 107, "image/webp"),
    ]  # fmt: skip
    with Image.open(path) as before:
        for each in made.renditions:
            assert same(before.convert("RGB").resize((each.width, each.height)), opened(each), most=5)


async def test_a_jpeg_hardly_grows(tmp_path: Path) -> None:
    path = tmp_path / "cover.jpg"
    photo(1200, 1200).save(path, quality=70)
    made = await drawn(path)
    assert made.published.path.stat().st_size <= 1.05 * path.stat().st_size


async def test_nothing_is_made_larger_and_what_is_huge_becomes_smaller(tmp_path: Path) -> None:
    small, huge = tmp_path / "small.png", tmp_path / "huge.png"
    photo(160, 90).save(small)
    photo(4000, 1000).save(huge)
    assert (await drawn(small)).renditions == ()
    made = await drawn(huge)
    assert (made.published.width, made.published.height) == (MOST_SIDE, 750)
    assert tuple(each.width for each in made.renditions) == tuple(reversed(WIDTHS))


async def test_a_line_keeps_its_one_pixel(tmp_path: Path) -> None:
    path = tmp_path / "line.png"
    Image.new("RGB", (3000, 1)).save(path)
    assert {each.height for each in (await drawn(path)).renditions} == {1}


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, (0, 1, 2, 3)), (2, (1, 0, 3, 2)), (3, (3, 2, 1, 0)), (4, (2, 3, 0, 1)),
        (5, (0, 2, 1, 3)), (6, (2, 0, 3, 1)), (7, (3, 1, 2, 0)), (8, (1, 3, 0, 2)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
async def test_every_orientation_is_turned_into_the_pixels(
    tmp_path: Path, suffix: str, orientation: int, expected: tuple[int, ...]
) -> None:
    path, exif = tmp_path / f"cover.{suffix}", Image.Exif()
    exif[0x0112] = orientation
    quarters(400, 200).save(path, exif=exif)
    made = await drawn(path)
    assert (made.published.width, made.published.height) == ((200, 400) if orientation > 4 else (400, 200))
    for each in (made.published, *made.renditions):
        image = opened(each)
        assert corners(image) == expected
        assert dict(image.getexif()) == {}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif"])
async def test_nothing_but_the_pixels_is_published(tmp_path: Path, suffix: str) -> None:
    """Neither EXIF and where a photo was taken, nor comments, nor what is hung on behind the picture."""
    path = tmp_path / f"cover.{suffix}"
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", SECRET.decode())
    options = {"gif": {"comment": SECRET}, "png": {"pnginfo": notes}, "jpg": {"comment": SECRET}}
    photo(300, 300).save(path, exif=with_secret(), **options.get(suffix, {}))
    behind = b"PK\x03\x04 an archive, or a page: <script>" + SECRET
    path.write_bytes(path.read_bytes() + behind)
    assert path.read_bytes().count(SECRET) >= 2
    made = await drawn(path)
    for each in (made.published, *made.renditions):
        written = each.path.read_bytes()
        assert not any(word in written for word in (SECRET, b"<script>", b"Exif", b"EXIF", b"eXIf"))


async def test_cmyk_grey_of_16_bits_and_palettes_come_out_as_they_look(tmp_path: Path) -> None:
    cmyk = tmp_path / "print.jpg"
    quarters(400, 400).convert("CMYK").save(cmyk, quality=95)
    assert corners(opened((await drawn(cmyk)).published)) == (0, 1, 2, 3)

    grey = tmp_path / "grey.png"
    ramp = np.tile(np.linspace(0, 65_535, 256).astype(np.uint16), (200, 1))
    Image.fromarray(ramp).save(grey)
    expected = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (200, 1)))
    assert same(expected, opened((await drawn(grey)).published), most=0.6)

    palette = tmp_path / "sign.gif"
    sign = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    sign.paste((255, 0, 0, 255), (0, 0, 100, 200))
    sign.save(palette)
    made = await drawn(palette)
    for each in (made.published, *made.renditions):
        image = opened(each).convert("RGBA")
        left, right = (np.array(image.getpixel((image.width * x // 4, 5))) for x in (1, 3))
        assert np.abs(left - (255, 0, 0, 255)).max() <= 3
        assert right[3] == 0


async def test_colours_of_a_profile_are_computed_into_srgb(tmp_path: Path) -> None:
    """A profile that takes L*a*b* for RGB is none of this picture's: it is left out, as browsers do."""
    path = tmp_path / "lab.png"
    Image.new("RGB", (50, 50), (10, 200, 90)).save(
        path, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    )
    image = opened((await drawn(path)).published)
    assert (image.getpixel((5, 5)), image.info.get("icc_profile")) == ((10, 200, 90), None)
    Image.new("RGB", (50, 50), (10, 200, 90)).save(path, icc_profile=_gamma_one())
    image = opened((await drawn(path)).published)
    assert image.info.get("icc_profile") is None
    # 200/255 of the light is 90 % of the way up in sRGB.
    assert image.getpixel((5, 5)) == pytest.approx((56, 229, 160), abs=3)


def _gamma_one() -> bytes:
    """The profile of sRGB with its three curves replaced by a straight line."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    for number in range(count):
        name, at, size = struct.unpack_from(">4sII", data, 132 + 12 * number)
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            assert size >= 12
            data[at : at + 12] = b"curv" + struct.pack(">II", 0, 0)
            struct.pack_into(">I", data, 132 + 12 * number + 8, 12)
    return bytes(data)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
async def test_an_animation_moves_on_and_its_renditions_are_its_first_frame(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"cover.{suffix}"
    first = quarters(400, 400)
    rest = [first.transpose(Image.Transpose.FLIP_LEFT_RIGHT), first.transpose(Image.Transpose.ROTATE_180)]
    first.save(path, save_all=True, append_images=rest, duration=[100, 200, 300], loop=0)
    made = await drawn(path)
    assert (made.frames, made.published.mime) == (3, "image/webp")
    with Image.open(made.published.path) as moving:
        seen: list[tuple[tuple[int, ...], int]] = []
        for number in range(3):
            moving.seek(number)
            moving.load()
            seen.append((corners(moving), int(moving.info["duration"])))
    assert seen == [((0, 1, 2, 3), 100), ((1, 0, 3, 2), 200), ((3, 2, 1, 0), 300)]
    for each in made.renditions:
        assert corners(opened(each)) == (0, 1, 2, 3)
        assert getattr(opened(each), "n_frames", 1) == 1


def bomb(width: int, height: int, *, rows: int) -> bytes:
    """A PNG of this size with so many rows of nothing."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compress(bytes((1 + width) * rows), 9)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", packed) + part(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG with two hundred megabytes of text in it, in some kilobytes."""
    made = bomb(10, 10, rows=10)
    data = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    part = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    return made[:33] + part + made[33:]


def broken_jpeg(share: float) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        photo(800, 800).save(file.name, quality=90)
        data = Path(file.name).read_bytes()
    return data[: int(len(data) * share)]


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
# Made when they are needed: whoever only looks for tests would wait for hundreds of megabytes of nothing.
HOSTILE: list[tuple[str, Callable[[], bytes], type[MediaFailed], str]] = [
    ("bomb.png", lambda: bomb(50_000, 50_000, rows=2000), TooLarge, "at most 64 megapixels"),
    ("half.png", lambda: bomb(8000, 8000, rows=8000)[:9000], Truncated, "ends before"),
    ("text.png", text_bomb, Unreadable, "broken"),
    ("half.jpg", lambda: broken_jpeg(0.5), Truncated, "ends before"),
    ("head.jpg", lambda: broken_jpeg(0.001), Truncated, "ends before"),
    ("svg.png", lambda: SVG, NotImage, "no JPEG, PNG, WebP or GIF"),
    ("page.gif", lambda: b"<html><script>", NotImage, "no JPEG, PNG, WebP or GIF"),
    ("tiff.jpg", lambda: b"II*\x00" + bytes(1000), NotImage, "no JPEG, PNG, WebP or GIF"),
    ("eps.png", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NotImage, "no JPEG"),
    ("empty.png", lambda: b"", NotImage, "no JPEG"),
    ("magic.gif", lambda: b"GIF89a", NotImage, "no JPEG"),
    ("noise.webp", lambda: b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(range(64)), Unreadable, "broken"),
]


@pytest.mark.parametrize(("name", "data", "failure", "words"), HOSTILE, ids=[name for name, *_ in HOSTILE])
async def test_what_is_hostile_or_broken_is_refused_in_words(
    tmp_path: Path, name: str, data: Callable[[], bytes], failure: type[MediaFailed], words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data())
    with pytest.raises(MediaFailed, match=words) as refused:
        await drawn(path)
    assert type(refused.value) is failure
    assert str(tmp_path) not in str(refused.value)


async def test_a_broken_picture_of_any_kind_is_a_failure_and_no_crash(tmp_path: Path) -> None:
    """Bytes changed here and there: it is drawn, or refused, and nothing else."""
    rng = np.random.default_rng(5)
    outcomes: set[bool] = set()
    for suffix in ("jpg", "png", "gif", "webp"):
        path = tmp_path / f"cover.{suffix}"
        photo(64, 64).save(path, exif=with_secret())
        whole = path.read_bytes()
        for _ in range(6):
            data = bytearray(whole)
            for at in rng.integers(0, len(data), 12):
                data[at] = int(rng.integers(0, 256))
            path.write_bytes(data)
            try:
                await drawn(path)
                outcomes.add(True)
            except MediaFailed:
                outcomes.add(False)
    assert outcomes == {True, False}


async def test_too_many_bytes_or_frames_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cover.png"
    photo(100, 100).save(path)
    with pytest.raises(TooLarge, match="image too large"):
        await drawn(path, max_bytes=100)
    endless = tmp_path / "cover.gif"
    frames = [Image.new("L", (2, 2), number % 2 * 255) for number in range(26_000)]
    frames[0].save(endless, save_all=True, append_images=frames[1:], duration=20)
    with pytest.raises(TooLarge, match="animation"):
        await drawn(endless)


async def test_memory_and_time_end_at_their_limits(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(bomb(8000, 8000, rows=8000))
    with pytest.raises(LimitExceeded, match="memory"):
        await prepare(path, tmp_path, limits=replace(GENEROUS, memory_bytes=300 << 20))
    with pytest.raises(LimitExceeded, match="time"):
        await prepare(path, tmp_path, limits=replace(GENEROUS, cpu_s=1))


async def test_who_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "slow-to-draw.png"
    path.write_bytes(bomb(8000, 8000, rows=8000))
    task = asyncio.create_task(prepare(path, tmp_path))
    while not processes("slow-to-draw"):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes("slow-to-draw") == []


async def test_an_image_is_stored_once_and_keeps_its_renditions(conn: Connection, tmp_path: Path) -> None:
    path, store = tmp_path / "cover.png", FilesystemStore(tmp_path / "blobs")
    photo(700, 700).save(path)
    made = await drawn(path)
    blob = await store_image(conn, store, made)
    again = await store_image(conn, store, await drawn(path))
    assert again.id == blob.id
    await rows.claim(conn, blob.id, kind="track", owner="did:plc:a/3k")
    found = await images.renditions(conn, [blob.id])
    assert [(each.width, each.height) for each in found] == [(160, 160), (320, 320), (640, 640)]
    assert [each async for each in audit(conn, store, content=True)] == [None] * 4

    await _collect(conn, store)
    assert await images.renditions(conn, [blob.id]) == found
    await rows.release(conn, kind="track", owner="did:plc:a/3k")
    await _collect(conn, store)
    assert await images.renditions(conn, [blob.id]) == []
    assert [each async for each in audit(conn, store, content=True)] == []


async def test_who_died_in_the_middle_is_finished_by_the_next(conn: Connection, tmp_path: Path) -> None:
    """Killed behind each rendition in turn: the next attempt ends where one without a crash does."""
    path, store = tmp_path / "cover.png", FilesystemStore(tmp_path / "blobs")
    photo(700, 700).save(path)
    made = await drawn(path)
    ids: set[int] = set()
    for count in range(len(made.renditions) + 1):
        ids.add((await store_image(conn, store, Prepared(made.published, made.renditions[:count]))).id)
    (id,) = ids
    await rows.claim(conn, id, kind="track", owner="did:plc:a/3k")
    assert [each.width for each in await images.renditions(conn, [id])] == [160, 320, 640]
    assert [each async for each in audit(conn, store, content=True)] == [None] * 4


async def test_two_images_may_share_a_rendition(conn: Connection, tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "blobs")
    found: list[rows.Blob] = []
    for suffix in ("png", "gif"):
        path = tmp_path / f"cover.{suffix}"
        Image.new("RGB", (200, 200 if suffix == "png" else 201), (255, 0, 0)).save(path)
        made = await drawn(path)
        found.append(await store_image(conn, store, replace(made, renditions=made.renditions[:1])))
        await rows.claim(conn, found[-1].id, kind="track", owner=suffix)
    shared = {each.sha256 for each in await images.renditions(conn, [each.id for each in found])}
    await rows.release(conn, kind="track", owner="png")
    await _collect(conn, store)
    (left,) = await images.renditions(conn, [found[1].id])
    assert left.sha256 in shared
    assert [each async for each in audit(conn, store, content=True)] == [None] * 2


async def _collect(conn: Connection, store: FilesystemStore) -> None:
    """Twice, since an image goes before its renditions."""
    for _ in range(2):
        now = datetime.now(UTC)
        done = await collect(conn, store, grace=timedelta(0), keep=timedelta(days=1), now=now)
        assert done.failed is None


async def test_a_picture_that_lacks_renditions_gets_them(
    database: str, conn: Connection, tmp_path: Path
) -> None:
    """As from before a width was added, and as from before it was noted how large pictures are."""
    store = FilesystemStore(tmp_path / "blobs")
    ids: list[int] = []
    for number, width in enumerate((900, 700, 150)):
        path = tmp_path / f"cover{number}.png"
        photo(width, 600).save(path)
        ids.append((await store_image(conn, store, await drawn(path))).id)
        await rows.claim(conn, ids[-1], kind="track", owner=f"did:plc:a/{number}")
    assert await images.missing(conn, WIDTHS, limit=9) == []
    assert [each.id for each in await images.missing(conn, (*WIDTHS, 800), limit=9)] == ids[:1]
    before = await images.renditions(conn, ids)
    await conn.execute("delete from image_rendition where width = 320")
    await conn.execute("delete from image_drawn where blob_id = %s", (ids[2],))
    assert [each.id for each in await images.missing(conn, WIDTHS, limit=9)] == ids

    assert (await _rendered(database, store, tmp_path, at_once=2)).result == {"images": 2, "failed": 0}
    assert (await _rendered(database, store, tmp_path, at_once=2)).result == {"images": 1, "failed": 0}
    assert (await _rendered(database, store, tmp_path)).result == {"images": 0, "failed": 0}
    assert await images.renditions(conn, ids) == before
    assert [each async for each in audit(conn, store, content=True)] == [None] * 9


async def test_a_picture_that_cannot_be_drawn_is_noted_and_keeps_no_other_waiting(
    database: str, conn: Connection, tmp_path: Path
) -> None:
    path, store = tmp_path / "cover.png", FilesystemStore(tmp_path / "blobs")
    found: list[rows.Blob] = []
    for width in (400, 500, 600):
        photo(width, 300).save(path)
        found.append(await store_image(conn, store, await drawn(path)))
        await rows.claim(conn, found[-1].id, kind="track", owner=f"did:plc:a/{width}")
    await conn.execute("delete from image_drawn")
    broken, gone, _ = (store.path(blob.key) for blob in found)
    assert broken is not None
    assert gone is not None
    broken.chmod(0o600)
    broken.write_bytes(b"no picture")
    gone.unlink()
    assert (await _rendered(database, store, tmp_path)).result == {"images": 1, "failed": 2}
    assert await images.missing(conn, WIDTHS, limit=9) == []
    assert {each.sha256 for each in await images.undrawable(conn, limit=9)} == {
        blob.key.sha256 for blob in found[:2]
    }
    await conn.execute("update image_drawn set drawn_at = now() - interval '8 days'")
    assert [each.id for each in await images.missing(conn, WIDTHS, limit=9)] == [b.id for b in found[:2]]


async def _rendered(database: str, store: FilesystemStore, folder: Path, at_once: int = 50) -> Done:
    async with make_pool(database, max_size=2, name="test") as pool:
        return await render_images(pool, store, folder / "scratch", at_once=at_once)(Quiet())


class Quiet:
    """A job that tells nobody."""

    job: Any = None

    async def report(self, phase: str, message: str, progress: float | None = None) -> None: ...

    async def save(self, facts: Any, *, warnings: Any = (), conn: Any = None) -> None: ...
