"""A relay that replays one capture over TLS as fast as the other side reads it (run as a child process).

It does of the websocket protocol what a replay needs: the handshake, and binary frames that
were wrapped beforehand. What the client sends (pings, a close) is read and dropped, so that
the replaying core does nothing but encrypt and send, and is never what is measured.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.bench import children

_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_KEY = re.compile(rb"^sec-websocket-key: *(\S+)", re.IGNORECASE | re.MULTILINE)
_CHUNK_BYTES = 1 << 18


def wrap(frames: Iterable[bytes]) -> bytes:
    """The frames as one run of unmasked binary websocket messages (RFC 6455, 5.2)."""
    wire = bytearray()
    for frame in frames:
        size = len(frame)
        if size < 126:
            wire += bytes((0x82, size))
        elif size < 1 << 16:
            wire += b"\x82\x7e" + size.to_bytes(2, "big")
        else:
            wire += b"\x82\x7f" + size.to_bytes(8, "big")
        wire += frame
    return bytes(wire)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and 127.0.0.1, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "relay.pem", folder / "relay.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert_file, key_file


def _serve(connection: ssl.SSLSocket, wire: bytes) -> None:
    try:
        request = b""
        while b"\r\n\r\n" not in request:
            received = connection.recv(65536)
            if not received:
                return
            request += received
        found = _KEY.search(request)
        if found is None:
            return
        digest = hashlib.sha1(found[1] + _ACCEPT_SALT, usedforsecurity=False).digest()
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        view = memoryview(wire)
        for start in range(0, len(view), _CHUNK_BYTES):
            connection.sendall(view[start : start + _CHUNK_BYTES])
        # A relay that has caught up stays connected and silent.
        while connection.recv(65536):
            pass
    except (OSError, ssl.SSLError):
        pass  # the client left, as it does when it has what it came for
    finally:
        connection.close()


def _accept(listener: socket.socket, context: ssl.SSLContext, wire: bytes) -> None:
    while True:
        plain, _ = listener.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection = context.wrap_socket(plain, server_side=True)
        except (OSError, ssl.SSLError):
            plain.close()
            continue
        threading.Thread(target=_serve, args=(connection, wire), daemon=True).start()


async def relay(task: dict[str, Any]) -> None:
    wire = Path(task["wire"]).read_bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(task["certificate"], task["key"])
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, context, wire), daemon=True).start()
    children.say({"port": listener.getsockname()[1]})
    await children.until_input_closes()


if __name__ == "__main__":
    children.main(relay)
