"""Postgres, the archive's files, and blobs. Never knows a protocol, never decides."""
