"""The whole system from outside: real processes, a real network, a real Postgres."""
