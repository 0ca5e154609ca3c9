"""Bytes from the network become verified, typed events here. Never knows a table."""
