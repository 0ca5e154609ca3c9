"""Our own code broken on purpose, one way after the other, in a copy of the tree: some test must notice each.

`python -m tests.mutants`, or `make mutants`, tries all of `mutants.toml`.
"""
