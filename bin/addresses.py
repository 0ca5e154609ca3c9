"""Addresses that a person sets: which ones can be, and in which form they are kept."""

from __future__ import annotations

from urllib.parse import urlsplit

from firehose.address import is_loopback_host, is_public_hostname

JETSTREAM_PREFIX = "jetstream+"


def origin_of(url: str, schemes: tuple[str, ...], example: str, plain_anywhere: tuple[str, ...] = ()) -> str:
    """The URL without a trailing slash, if it is scheme, host and port alone. ValueError says what is wrong.

    The unencrypted scheme, first of `schemes`, is for loopback hosts unless named in `plain_anywhere`.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no address: {error}") from None
    if parts.scheme not in schemes or not host:
        raise ValueError(f"{url!r} must look like {example}")
    if parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
        raise ValueError(f"{url!r} must be scheme, host and port alone, as {example}")
    if parts.scheme == schemes[0] and schemes[0] not in plain_anywhere and not is_loopback_host(host):
        raise ValueError(f"{url!r}: {schemes[0]}:// is for this machine alone, use {schemes[1]}://")
    return f"{parts.scheme}://{parts.netloc}"


def source_of(url: str) -> str:
    """The address of a source, likewise; `jetstream+` may stand in front of it."""
    prefix = JETSTREAM_PREFIX if url.startswith(JETSTREAM_PREFIX) else ""
    return prefix + origin_of(url.removeprefix(prefix), ("ws", "wss"), "wss://relay1.us-east.bsky.network")


def sound_origin_of(url: str) -> str:
    """An origin, or `https://*.host`, which is every host below that one."""
    example = "https://audio.example, or https://*.example"
    origin = origin_of(url.replace("://*.", "://", 1), ("http", "https"), example)
    if origin == url.rstrip("/") and "*" not in origin:
        return origin
    below = "https://*." + origin.removeprefix("https://")
    if below != url.rstrip("/") or not is_public_hostname(origin.removeprefix("https://")):
        raise ValueError(f"{url!r} must look like {example}")
    return below
