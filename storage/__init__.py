"""Postgres, and later blobs and the archive. Never knows a protocol, never decides."""
