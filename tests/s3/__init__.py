"""A real S3 server for tests: OpenStack Swift with its S3 API, from PyPI alone."""
