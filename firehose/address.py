"""Which URLs and addresses we go to when a stranger names them. Pure; no I/O.

DID documents, handles and redirects name hosts, and whoever writes them would like us to
knock on our own doors. Any public name over https on ports 80 and 443 may be asked.
`allow_loopback` adds loopback addresses, by http and on any port, and nothing else: a
development switch (rules D8, T34).
"""

from __future__ import annotations

import ipaddress
import re

from yarl import URL

from firehose.fetch_errors import Blocked

_PORTS = frozenset({80, 443})

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r'(?P<rest>(?:[/?][!-"$-\[\]-~]*)?)',  # no fragment, no backslash
    re.IGNORECASE,
)
# At least two labels, and a last one that starts with a letter: this alone keeps out every
# spelling of an IPv4 address (decimal, octal, hex, short) and the trailing dot.
_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)

_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only 2000::/3 is handed out to the public; v4-mapped, NAT64, unique-local, link-local and
# multicast addresses all lie outside of it. Inside: tunnels (Teredo, 6to4) and documentation.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


def is_public_address(address: str) -> bool:
    """True for a unicast address that the public internet routes; False for all else, garbage too."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in net for net in _NOT_PUBLIC_V4)
    return ip in _PUBLIC_V6 and ip.scope_id is None and not any(ip in net for net in _NOT_PUBLIC_V6)


def is_loopback_address(address: str) -> bool:
    """True for 127.0.0.0/8 and ::1, not for their v4-mapped spellings."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return ip.is_loopback and not (isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None)


def is_loopback_host(host: str) -> bool:
    """True for `localhost`, names below it, and loopback address literals (with or without brackets)."""
    return host == "localhost" or host.endswith(".localhost") or is_loopback_address(host.strip("[]"))


def is_public_hostname(host: str) -> bool:
    """True for a full domain name in lower-case ASCII; False for every spelling of an IP address."""
    return _HOSTNAME.fullmatch(host) is not None


def check_url(url: str, *, allow_loopback: bool) -> URL:
    """The URL, ready to be asked. Raises `Blocked` with the reason.

    The catch: passing is half the check. What the host's name resolves to is looked at
    when the connection is made.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise Blocked(f"not a plain http(s) URL: {url[:200]!r}")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    port = int(match["port"]) if match["port"] else (443 if scheme == "https" else 80)
    if allow_loopback and is_loopback_host(host):
        if not 0 < port < 65536:
            raise Blocked(f"no such port: {url[:200]!r}")
    elif scheme != "https":
        raise Blocked(f"not https: {url[:200]!r}")
    elif not is_public_hostname(host) or is_loopback_host(host):
        raise Blocked(f"not a public host name: {url[:200]!r}")
    elif port not in _PORTS:
        raise Blocked(f"not on port 80 or 443: {url[:200]!r}")
    parsed = URL(f"{scheme}://{host}:{port}{match['rest']}", encoded=True)
    if parsed.raw_host != host.strip("[]") or parsed.port != port or parsed.user is not None:
        raise Blocked(f"read in two ways: {url[:200]!r}")
    return parsed


def check_address(address: str, host: str, *, allow_loopback: bool) -> None:
    """Raise `Blocked` unless the address is public, or loopback where that is allowed."""
    if is_public_address(address) or (allow_loopback and is_loopback_address(address)):
        return
    raise Blocked(f"{host} resolves to {address}, which is not a public address")
