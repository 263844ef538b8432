# Consentry. `make help` lists what there is; every target sets up .venv for itself.
# Needs Python 3.11 or newer and make. PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
STUBS_READY := .venv/stubs/.ready
STUBS := client/src/consentry/v1
SOURCES := client/src server/src examples tests
PACKAGES := $(wildcard client/pyproject.toml server/pyproject.toml)
LOCK := $(BIN)/uv pip compile -q --system-certs --universal --python-version 3.11 --generate-hashes --no-header \
        $(if $(UPGRADE),--upgrade)

# what `buf breaking` compares the contract with
BASE ?= HEAD

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-faults run bench bench-large lint lint-python lint-types lint-imports lint-proto \
        lint-breaking lint-stubs \
        format proto lock clean
MAKEFLAGS += --no-print-directory

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# -- what people run --------------------------------------------------------------------------------------------------

demo: $(READY) ## the whole story on real photos; leaves its ledger in .consentry/demo
	@$(BIN)/python examples/demo.py

test: $(READY) ## every test; ARGS="-k gate" chooses
	@$(BIN)/python -m pytest -n logical --dist worksteal $(ARGS)

test-faults: $(READY) ## crashes by the thousand: SIGKILL, failing and full disks, power loss; needs strace; ARGS="--minutes 5"
	@$(BIN)/python -m tests.faults $(ARGS)

run: $(READY) ## a development server on .consentry/run, made when missing
	@$(BIN)/consentry init --if-missing .consentry/run
	@$(BIN)/consentry serve .consentry/run

bench: $(READY) ## speed against an empty call on the same server; writes .bench/latest.json
	@$(BIN)/python -m tests.bench

bench-large: $(READY) ## the same on ten million entries (17 GB, half an hour); writes .bench/large.json
	@$(BIN)/python -m tests.bench.large

# -- what developers run ----------------------------------------------------------------------------------------------

lint: lint-python lint-types lint-imports lint-proto lint-breaking lint-stubs ## everything below that starts with lint-

lint-python: $(READY) ## ruff: rules and format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

lint-types: $(READY) ## mypy strict
	@$(BIN)/mypy $(foreach folder,$(SOURCES),$(if $(shell find $(folder) -name '*.py' -print -quit 2>/dev/null),$(folder)))

lint-imports: $(READY) ## who may import whom
	@$(BIN)/lint-imports --no-logo

lint-proto: $(READY) ## buf: rules and format of the contract
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code

lint-breaking: $(READY) ## buf: the contract breaks nothing that BASE (HEAD) promised
	@if git ls-tree -r --name-only $(BASE) -- proto 2>/dev/null | grep -q '\.proto$$'; \
	then old=$$(mktemp -d) && trap 'rm -rf "$$old"' EXIT \
	  && git archive $(BASE) buf.yaml proto | tar x -C "$$old" && $(BIN)/buf breaking --against "$$old"; \
	else echo "no contract in $(BASE): nothing to break"; fi

lint-stubs: $(STUBS_READY) ## the committed stubs are those of the proto files
	@new=$$(mktemp -d) && trap 'rm -rf "$$new"' EXIT && proto/generate.sh .venv/stubs/bin/python "$$new" \
	&& diff -ru --exclude=__init__.py --exclude=__pycache__ $(STUBS) "$$new/consentry/v1" \
	&& examples/generate.sh .venv/stubs/bin/python "$$new" \
	&& (for stub in "$$new"/face_tagger/*; do diff -u "examples/face_tagger/$${stub##*/}" "$$stub" || exit 1; done) \
	|| { echo "the stubs differ from the proto files: run make proto"; exit 1; }

format: $(READY) ## let ruff and buf write what they would complain of
	@$(BIN)/ruff check --fix-only -q
	@$(BIN)/ruff format -q
	@$(BIN)/buf format -w

proto: $(STUBS_READY) ## generate the stubs into client/src/consentry/v1, and those of the example
	@proto/generate.sh .venv/stubs/bin/python client/src
	@examples/generate.sh .venv/stubs/bin/python examples

lock: $(READY) ## compile requirements/*.in to pinned, hashed files; UPGRADE=1 takes newer versions
	@test -x $(BIN)/uv || { echo "there is no uv for this machine: make lock needs it"; exit 1; }
	@$(LOCK) requirements/uv.in -o requirements/uv.txt
	@$(LOCK) requirements/stubs.in -o requirements/stubs.txt
	@$(LOCK) --no-emit-package consentry $(PACKAGES) requirements/dev.in -o requirements/dev.txt

clean: ## remove what make made; a development server's records in .consentry/run stay
	@rm -rf .venv .bench .faults .consentry/demo .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# -- set-up -----------------------------------------------------------------------------------------------------------

# uv where it runs, pip where it does not; both install only what is pinned and hashed
$(READY): requirements/dev.txt requirements/uv.txt $(PACKAGES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Consentry needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || { echo "setting up .venv, once"; $(PYTHON) -m venv .venv; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt 2>.venv/uv.log \
	  || echo "no uv for this machine: pip takes about a minute"
	@$(BIN)/uv pip install -q --system-certs --python $(BIN)/python --require-hashes -r requirements/dev.txt 2>.venv/uv.log \
	  || $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-compile --require-hashes -r requirements/dev.txt
	@if test -x $(BIN)/uv; \
	then $(BIN)/uv pip install -q --offline --python $(BIN)/python --no-deps --no-build-isolation -e client -e server; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check --no-index --no-deps --no-build-isolation -e client -e server; fi
	@touch $@

$(STUBS_READY): requirements/stubs.txt | $(READY)
	@test -x .venv/stubs/bin/python || $(PYTHON) -m venv .venv/stubs
	@$(BIN)/uv pip install -q --system-certs --python .venv/stubs/bin/python --require-hashes -r requirements/stubs.txt 2>.venv/uv.log \
	  || .venv/stubs/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/stubs.txt
	@touch $@
