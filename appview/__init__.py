"""Answers people. It never asks the network while somebody waits: what an answer needs is in a row. What asks
is signing in, and a stranger's key (`auth`)."""
