"""Benchmarks: our ways beside the common ones and the limits, timed in one run, behind correctness gates.

Never part of the tests, never against a database that somebody uses: everything here runs on a
throw-away Postgres, on generated input from a fixed seed, and on the loopback interface.
"""
