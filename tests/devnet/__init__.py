"""A real AT Protocol network on one machine, for tests and the demo. Never part of the running service."""
