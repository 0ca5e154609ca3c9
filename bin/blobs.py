"""`plyr blobs COMMAND`: what the blob store holds, and who needs it."""

from __future__ import annotations

from bin.command import OF_BLOBS, Command

COMMANDS = {
    "audit": Command(
        "bin.blobs_audit", "compare what the store holds with what the rows say", True, "there", OF_BLOBS
    ),
    "collect": Command(
        "bin.blobs_collect",
        "remove blobs that nobody needs, and uploads that stand still",
        True,
        "there",
        (*OF_BLOBS, "blob_grace_hours", "upload_keep_hours"),
    ),
}
