"""Answers people and programs. Never writes what the firehose decides, never waits for the network on a read."""
