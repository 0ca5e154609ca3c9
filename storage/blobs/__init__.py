"""Blobs: bytes under the sha-256 of all of them, on a disk or in S3. Never decides who may have them."""
