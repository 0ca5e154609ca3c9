"""`plyr labeler COMMAND`: what we are as a labeler, as the network sees it."""

from __future__ import annotations

from bin.command import Command

COMMANDS = {
    "publish": Command(
        "bin.labeler_publish",
        "write into the repo of our DID which labels we give",
        True,
        "no",
        (
            "public_url",
            "port",
            "service_pds",
            "service_signing_key",
            "namespace",
            "plc_url",
            "dev_loopback",
        ),
    ),
}
