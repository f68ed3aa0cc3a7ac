# The task list for people: `make help`. Continuous integration calls .ci/run.

.DEFAULT_GOAL := help
.PHONY: help environment setup test-parallel test-parallel-fast test-parallel-fail-fast check fix test test-all torture bench clean

BIN := .venv/bin
SHELL_SCRIPTS := exec.sh run_parallel_tests.sh .ci/run .ci/check

# make test-parallel OPTIONS="--jobs 8 --verbose"
OPTIONS ?=
# All but acceptance.
FAST_CATEGORIES ?= core,features,observability

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-24s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## make the Python environment ready and say what it has
	./exec.sh local setup

test-parallel: ## the suite, groups side by side
	./exec.sh local test --parallel $(OPTIONS)

test-parallel-fast: ## the same without the slow categories (FAST_CATEGORIES names the rest)
	./exec.sh local test --parallel --categories $(FAST_CATEGORIES) $(OPTIONS)

test-parallel-fail-fast: ## the same, stopped by the first failure
	./exec.sh local test --parallel --fail-fast $(OPTIONS)

environment:
	@./exec.sh --version >/dev/null

check: environment ## lint, formats, types, shell scripts
	.ci/check

fix: environment ## mend what can be mended by a tool
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/shfmt -i 4 -w $(SHELL_SCRIPTS)

test: environment ## the harness's own tests, the slow ones left out
	$(BIN)/python -m pytest -n 2 -m "not slow" $(OPTIONS)

test-all: environment ## the harness's own tests
	$(BIN)/python -m pytest -n 2 $(OPTIONS)

torture: environment ## hundreds of kills, double starts and injected faults; writes docs/reliability.md
	PYTHONPATH=tests $(BIN)/python -m torture $(OPTIONS)

bench: environment ## measure the harness beside other tools
	$(BIN)/python -m benchmarks $(OPTIONS)

clean: ## remove logs of old runs and caches
	./exec.sh local clean
