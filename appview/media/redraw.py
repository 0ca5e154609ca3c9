"""The program that decodes a stranger's picture and draws it anew: run by `images.py`, behind `confine.py`.

    python -I redraw.py '{"source": …, "out": …, "widths": […], …}'

It writes `published` and one WebP for each width below the picture's own, and prints what it wrote, or why it
did not, as JSON. Nothing of the original file but its pixels comes out: no EXIF, place, comment, profile, or
bytes that are something else, too. A profile's colours are computed into sRGB, the orientation into the
pixels. It needs nothing but Pillow.
"""

from __future__ import annotations

import json
import struct
import sys
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms, JpegImagePlugin

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LEAST_FRAME_PIXELS = 10_000  # the smallest frame takes time, too
_HEAD_BYTES = 4096
_LEAST_FRAME_MS, _FRAME_MS = 20, 100
_EFFORT = 4  # of WebP's encoder: 6 makes it 2 % smaller in twice the time
_QUALITY = 82
_QUALITY_PUBLISHED = 92
# What reading a broken file raises, by Pillow's own readers.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error, EOFError)


class Refused(Exception):
    """`kind` is the name of a class in `failures.py`, the text is for whoever sent the picture."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def main(task: dict[str, Any]) -> dict[str, Any]:
    Image.MAX_IMAGE_PIXELS = task["max_pixels"]
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    too_large = Refused("TooLarge", f"a picture has at most {task['max_pixels'] // 1_000_000} megapixels")
    try:
        return draw(task)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_large from None
    except Image.UnidentifiedImageError:
        raise Refused("NotImage", "this is no JPEG, PNG, WebP or GIF, whatever its name says") from None
    except MemoryError:
        raise Refused("LimitExceeded", "the picture needs more memory than is allowed") from None
    except _BROKEN as error:
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise Refused("Truncated", "the picture ends before its end: send it again") from None
        raise Refused("Unreadable", f"the picture is broken: {str(error)[:200]}") from None


def draw(task: dict[str, Any]) -> dict[str, Any]:
    out = Path(task["out"])
    with Path(task["source"]).open("rb") as file:
        head = file.read(_HEAD_BYTES)
    with Image.open(task["source"], formats=FORMATS) as source:
        pixels = source.width * source.height
        if pixels > task["max_pixels"]:
            raise Image.DecompressionBombError
        frames = 1 if source.format in ("JPEG", "MPO") else getattr(source, "n_frames", 1)
        if frames > 1 and frames * max(pixels, _LEAST_FRAME_PIXELS) > task["max_animated_pixels"]:
            raise Refused("TooLarge", "the animation is too long or too large: send fewer or smaller frames")
        published = {"file": "published", "mime": "image/webp"}
        if frames > 1:
            move(source, frames, out / "published")
            source.seek(0)
            source.load()
            still = upright(source, turned=False)
        else:
            source.load()
            still = fit(upright(source, turned=True), task["max_side"])
            published["mime"] = keep(source, head, still, out / "published")
    told: list[dict[str, Any]] = [published | {"width": still.width, "height": still.height}]
    told += smaller(still, task["widths"], out)
    return {"files": told, "frames": frames}


def upright(source: Image.Image, *, turned: bool) -> Image.Image:
    """The pixels in sRGB, with 8 bits a channel, the way up that they are to be looked at."""
    image = eight_bits(source)
    profile = source.info.get("icc_profile")
    if profile:
        image = in_srgb(image, profile)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    turn = _TURNS.get(orientation(source)) if turned else None
    image = image if turn is None else image.transpose(turn)
    image.info = {}  # or what is written of it would have comments and profiles
    return image


def eight_bits(image: Image.Image) -> Image.Image:
    """Of grey with 16 bits; whatever else Pillow opens from these formats has 8."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        made = ImageCms.profileToProfile(
            image, BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode=mode
        )
    except (
        ImageCms.PyCMSError,
        OSError,
        ValueError,
    ):  # it is of other colours, or broken: browsers ignore it
        return image
    return image if made is None else made


def orientation(source: Image.Image) -> int:
    try:
        return int(source.getexif().get(_ORIENTATION, 1))
    except _BROKEN:  # as browsers do: broken EXIF turns nothing
        return 1


def fit(image: Image.Image, max_side: int) -> Image.Image:
    factor = max_side / max(image.size)
    return image if factor >= 1 else scaled(image, round(image.width * factor), round(image.height * factor))


def scaled(image: Image.Image, width: int, height: int) -> Image.Image:
    return image.resize((max(1, width), max(1, height)), Image.Resampling.LANCZOS, reducing_gap=3.0)


def keep(source: Image.Image, head: bytes, still: Image.Image, path: Path) -> str:
    """Write the picture itself, as what it came; returns its type. A JPEG keeps its own quantization, so that
    next to nothing is lost; GIF becomes PNG."""
    if source.format in ("JPEG", "MPO"):
        options: dict[str, Any] = {"quality": _QUALITY_PUBLISHED, "subsampling": 0}
        if isinstance(source, JpegImagePlugin.JpegImageFile) and source.mode == "RGB":
            options = {"qtables": source.quantization, "subsampling": JpegImagePlugin.get_sampling(source)}
        still.save(path, "JPEG", optimize=True, progressive=True, **options)
        return "image/jpeg"
    if source.format == "WEBP":
        lossless = b"VP8L" in head
        still.save(
            path, "WEBP", lossless=lossless, quality=_QUALITY_PUBLISHED, method=_EFFORT, exact=lossless
        )
        return "image/webp"
    still.save(path, "PNG")
    return "image/png"


def move(source: Image.Image, frames: int, path: Path) -> None:
    """Write an animation as WebP, with its times. Pillow goes through the frames, one at a time."""
    times_ms: list[int] = []
    for number in range(frames):
        source.seek(number)
        source.load()
        times_ms.append(max(_LEAST_FRAME_MS, round(source.info.get("duration") or _FRAME_MS)))
    loop = source.info.get("loop", 1 if source.format == "GIF" else 0)
    options = {"background": (0, 0, 0, 0), "quality": _QUALITY, "method": 2}
    source.save(path, "WEBP", save_all=True, duration=times_ms, loop=loop, **options)


def smaller(still: Image.Image, widths: list[int], out: Path) -> Iterator[dict[str, Any]]:
    """Write a WebP for each width below the picture's, the widest first, each out of the one before."""
    image = still
    for width in sorted((width for width in widths if width < still.width), reverse=True):
        image = scaled(image, width, round(still.height * width / still.width))
        name = f"{width}.webp"
        image.save(out / name, "WEBP", quality=_QUALITY, method=_EFFORT)
        yield {"file": name, "mime": "image/webp", "width": width, "height": image.height}


if __name__ == "__main__":
    try:
        print(json.dumps(main(json.loads(sys.argv[1]))))
    except Refused as refused:
        print(json.dumps({"kind": refused.kind, "text": str(refused)}))
