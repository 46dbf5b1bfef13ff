# `make run` and `make test` set up all they need in .venv, from Python 3.10 or later alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# `make run` needs a sixth of what the tests do.
RUNNABLE := $(VENV)/.runnable

# Without a target, what there is.
.PHONY: help setup run test versions check build site wheel-test stress mutants clean

help:
	@grep '^make ' CONTRIBUTING.md

setup: $(STAMP)

$(STAMP): EXTRAS := dev
$(RUNNABLE): EXTRAS := local,valkey

$(STAMP) $(RUNNABLE): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "gaesignals needs Python 3.10 or later; choose one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing what is needed into $(VENV): a minute or two, the first time."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $(RUNNABLE) $@

run: $(RUNNABLE)
	@$(BIN)/python -m devserver $(ARGS)

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# What is published, into dist/. Twine has an environment of its own: it and the SDK want different versions of urllib3.
build: setup
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	@test -x .venv-twine/bin/twine || { $(PYTHON) -m venv .venv-twine && .venv-twine/bin/pip install --quiet twine; }
	.venv-twine/bin/twine check --strict dist/*

# The documentation as a site, into build/site, in an environment of its own. It fails on a link that leads nowhere.
site:
	@test -x .venv-site/bin/mkdocs || { $(PYTHON) -m venv .venv-site && \
		.venv-site/bin/pip install --quiet 'mkdocs-material>=9.6,<10' 'mkdocstrings[python]>=1,<2' ruff; }
	@NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict --quiet
	@echo "file://$(CURDIR)/build/site/index.html, or with its search: $(BIN)/python -m http.server --directory build/site"

# The wheel with its own dependencies in a fresh environment, and all tests of the library and the worker against it.
wheel-test: setup
	WHEEL_TEST=fresh $(BIN)/python -m pytest tests/packaging $(ARGS)

# The tests on every supported Python that is there, each in an environment of its own.
versions:
	@set -e; for python in python3.10 python3.11 python3.12 python3.13 python3.14; do \
		if $$python --version >/dev/null 2>&1; then $(MAKE) PYTHON=$$python VENV=.venv-$$python test; \
		else echo "$$python is not there"; fi; \
	done

# A hundred thousand interleavings, some more with an administrator, a forgetful memcache or a network that writes twice
# and late among them, and two minutes of real processes that are killed, durable messages beside a memcache that is; then
# the same on Valkey or Redis: about fifty minutes.
stress: setup
	$(BIN)/python -m tests.simulation 0 --count 100000
	$(BIN)/python -m tests.simulation 0 --count 5000 --with discards
	$(BIN)/python -m tests.simulation 0 --count 5000 --with requeues
	$(BIN)/python -m tests.simulation 0 --count 5000 --with forgets
	$(BIN)/python -m tests.simulation 0 --count 5000 --with doubles
	$(BIN)/python -m tests.simulation 0 --count 5000 --with doubles --with discards
	$(BIN)/python -m tests.simulation.latest_world 0 --count 10000
	$(BIN)/python -m tests.simulation.durable_hours --seconds 300
	$(BIN)/python -m tests.fleet
	$(BIN)/python -m pytest -m stress tests/fleet
	$(BIN)/python -m tests.stress --seconds 120
	$(BIN)/python -m tests.stress.durable --messages 10000
	for kind in server cluster killed forgetful; do \
		$(BIN)/python -m tests.simulation.processes --count 300 --on $$kind || exit 1; done
	$(BIN)/python -m tests.stress --seconds 60 --store server
	$(BIN)/python -m tests.stress --seconds 60 --store cluster

# Faults put into the code, one at a time: the tests have to catch each. ARGS="3 17" tries some.
mutants: setup
	$(BIN)/python -m tests.mutants $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-twine .venv-site .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
