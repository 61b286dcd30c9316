# `make run` is all that a user needs; the rest is for who works on Certwright. Every target sets up what it needs.

PYTHON ?= python3
UV ?= uv
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNNABLE := .venv/.runnable
TESTABLE := .venv/.testable
PACKAGEABLE := .venv/.packageable
NODE_MODULES := tests/node_modules/.complete
DEPLOY_MODULES := node_modules/.complete
CONSOLE := src/certwright/console
CONSOLE_MODULES := $(CONSOLE)/node_modules/.complete
CONSOLE_BUILT := $(CONSOLE)/dist/.complete
IDE_BUILT := $(CONSOLE)/dist/.ide
CONSOLE_SOURCES := schema.graphql $(shell find $(CONSOLE) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' \
	-not -path '*/gql/*')

.PHONY: help run test e2e check format bench schema package console screenshots lock
.DEFAULT_GOAL := help

help:
	@echo "make run      set up and start Certwright with a local test CA (ARGS='--port 8080' and the like)"
	@echo "make test     set up, check the code and run every test (ARGS goes to pytest)"
	@echo "make e2e      the part of make test that deploys to an emulator of AWS;  make package  the AWS functions' zips"
	@echo "make check    formatting, lint and types only;  make format  puts the formatting right"
	@echo "make bench    measure, and print a table (ARGS goes to the bench)"
	@echo "make console  build the web console (make run does);  make schema  write schema.graphql"
	@echo "make screenshots  take the pictures of docs/console.md anew"
	@echo "make lock     write requirements*.txt anew (needs uv)"

# The IDE takes longer to build than all else, and few need it at once: it is there when it is done.
run: $(RUNNABLE) $(CONSOLE_BUILT)
	@nice $(MAKE) --silent $(IDE_BUILT) >/dev/null 2>&1 & \
	exec $(BIN)/certwright serve --test-ca $(ARGS)

test: check $(NODE_MODULES) $(DEPLOY_MODULES) $(CONSOLE_BUILT) $(IDE_BUILT)
	$(BIN)/python -m pytest $(ARGS)

e2e: $(TESTABLE) $(DEPLOY_MODULES) $(CONSOLE_BUILT) $(IDE_BUILT)
	$(BIN)/python -m pytest tests/test_stack.py tests/test_e2e_ministack.py $(ARGS)

check: $(TESTABLE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(TESTABLE)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(TESTABLE)
	$(BIN)/python -m tests.bench $(ARGS)

schema: $(TESTABLE)
	$(BIN)/certwright export-schema

# In build/lambda, for both architectures (ARGS='--architecture arm64' for one); no account is needed.
package: $(PACKAGEABLE) $(CONSOLE_BUILT) $(IDE_BUILT)
	$(BIN)/python tools/package.py $(ARGS)

# The web console; without Node all else goes on, and /acme says what to install.
console: $(CONSOLE_BUILT) $(IDE_BUILT)

$(CONSOLE_BUILT): BUILD := build
$(IDE_BUILT): BUILD := ide
screenshots: $(TESTABLE) $(NODE_MODULES) $(CONSOLE_BUILT)
	$(BIN)/python -m tests.screenshots docs/screenshots $(ARGS)

$(CONSOLE_BUILT): $(CONSOLE_SOURCES) $(CONSOLE_MODULES)
$(IDE_BUILT): $(CONSOLE_BUILT)
$(CONSOLE_BUILT) $(IDE_BUILT):
	@if ! [ -e $(CONSOLE_MODULES) ]; then \
		echo "The web console is not built: /acme says what it needs"; \
	elif (cd $(CONSOLE) && npm run --silent $(BUILD)); then \
		touch $@; \
	else \
		echo "The web console could not be built; all else goes on"; \
	fi

$(CONSOLE_MODULES): $(CONSOLE)/package.json $(CONSOLE)/package-lock.json
	@tools/debian node=nodejs npm=npm
	@if ! command -v npm >/dev/null; then \
		echo "npm is missing, which the web console is built with"; \
	elif (cd $(CONSOLE) && npm ci --no-audit --no-fund --loglevel=error); then \
		touch $@; \
	else \
		echo "npm ci failed in $(CONSOLE)"; \
	fi

# The same pins for all; hashes, and no address of any index. Whoever only installs does not need uv.
LOCK = echo "setuptools>=77" | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -
lock:
	$(LOCK) --output-file requirements.txt
	$(LOCK) --output-file requirements-aws.txt --extra aws --constraint requirements.txt
	$(LOCK) --output-file requirements-dev.txt --extra aws --extra dev --constraint requirements-aws.txt

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Certwright needs Python 3.11 or newer; name one by PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tools/debian python3-venv
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "Python's venv is missing; on Debian, as root: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv

$(RUNNABLE): requirements.txt pyproject.toml | $(BIN)/python
	@tools/debian pebble=pebble curl=curl openssl=openssl
	$(PIP) install --require-hashes --requirement requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(TESTABLE): requirements-dev.txt pyproject.toml | $(BIN)/python
	@tools/debian pebble=pebble curl=curl openssl=openssl java=default-jre-headless node=nodejs npm=npm chromium=chromium \
		/usr/sbin/named=bind9 caddy=caddy
	$(PIP) install --require-hashes --requirement requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(RUNNABLE) $(PACKAGEABLE)

$(PACKAGEABLE): requirements-aws.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes --requirement requirements-aws.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Without Node, or without its packages, the tests that need them are skipped, each with its reason.
$(NODE_MODULES): tests/package.json tests/package-lock.json | $(TESTABLE)
$(DEPLOY_MODULES): package.json package-lock.json | $(TESTABLE)
$(NODE_MODULES) $(DEPLOY_MODULES):
	@if ! command -v npm >/dev/null; then \
		echo "npm is missing: the tests that need packages from it will be skipped"; \
	elif (cd $(dir $(@D)) && npm ci --no-audit --no-fund --loglevel=error); then \
		touch $@; \
	else \
		echo "npm ci failed: the tests that need packages from it will be skipped"; \
	fi
