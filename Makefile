.PHONY: check static lint types imports unit format test bench soak mutants docs lock
export PYTHONPATH := $(CURDIR)
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
BIN := .venv/bin
COMPILE := $(BIN)/python -m piptools compile --quiet --strip-extras --generate-hashes --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

# About a minute: formatting, lint, types, direction of imports, unit tests.
check: .venv/dev.lock
	@$(MAKE) --no-print-directory -j2 --keep-going --output-sync=target types unit lint imports

# The same without the unit tests, which are also among those that `plyr test` runs.
static: .venv/dev.lock
	@$(MAKE) --no-print-directory -j2 --keep-going --output-sync=target types lint imports

lint:
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

types:
	$(BIN)/pyright

imports:
	$(BIN)/lint-imports --no-cache --no-logo

unit:
	$(BIN)/python -m pytest tests/unit --quiet --durations=0 --durations-min=2

format: .venv/dev.lock
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test:
	./bin/plyr test

bench:
	./bin/plyr bench

# Two hundred worlds that go wrong on a seed, and what must be left of them: about half an hour.
soak:
	$(BIN)/python -m tests.soak

# Our own code broken on purpose, in one way after the other: some test must notice each. Some seven minutes.
mutants:
	$(BIN)/python -m tests.mutants

# The pages that are generated from the code.
docs: .venv/dev.lock
	$(BIN)/python -m bin.settings_page
	$(BIN)/python -m bin.rest_page
	$(BIN)/python -m appview.xrpc.reference

# Compile the lock files anew; `pip install pip-tools` into .venv first.
lock:
	cd requirements && ../$(COMPILE) --output-file=runtime.lock runtime.in
	cd requirements && ../$(COMPILE) --output-file=dev.lock dev.in

.venv/dev.lock: requirements/dev.lock
	python3 -P bin/bootstrap.py dev
	touch $@
