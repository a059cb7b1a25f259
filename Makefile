# The words that README and CI use; `make help` lists them.
#
#   make run                     PORT=9000 TICK_SECONDS=60 DATABASE_URL=postgres://... change it
#   make verify                  compares the audit trail of the running service with its database
#   make test                    everything that CI checks
#   make test T=part_of_a_name   only the tests whose name has this in it
#   make bench                   the benchmarks, as a table; T="cold warm" for some of them
#   make build                   what is deployed, checked; ARCH=arm64 or ARCH=x86_64 chooses

.PHONY: help setup run verify test lint bench build

FUNCTIONS := create-schedule list-schedules cancel-schedule schedule-processor migrate verify-trail

# cargo builds where it is told to.
STACK := $(or $(CARGO_TARGET_DIR),target)/local/stack
# One profile for all that runs on this machine, so that nothing is compiled twice.
LOCAL := --quiet --profile local --workspace
BENCH := cargo bench --quiet --package flag-schedules-tests --bench bench

help: ## Lists the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile

setup: ## Installs the pinned local tools into .venv
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust, see https://rustup.rs" >&2; exit 1; }
	@command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.10 or newer" >&2; exit 1; }
	@python3 tests/harness/setup.py

run: setup ## Runs the whole service on this machine until Ctrl-C
	@echo "building the functions (takes minutes the first time)"
	@cargo build $(LOCAL) --bins
	@exec $(STACK) run

verify: ## Compares the audit trail of what `make run` has started with its database
	@test -f .local/env || { echo "nothing is running: start \`make run\` first" >&2; exit 1; }
	@. .local/env && curl -sS "$$API_URL/2015-03-31/functions/verify-trail/invocations" \
		-d "{\"to\": \"$$(date -u +%Y-%m-%dT%H:%M:%SZ)\"}" | python3 -m json.tool

lint: setup ## Checks formatting, lints and the template
	@echo "checking the formatting"
	@cargo fmt --all --check -- --color never || { echo "the formatting is off: run \`cargo fmt --all\`" >&2; exit 1; }
	@echo "checking the lints (takes minutes the first time)"
	@cargo clippy $(LOCAL) --all-targets -- -D warnings
	@echo "checking the template"
	@python3 tests/harness/setup.py .venv-checkov requirements-checkov.txt
	@.venv/bin/cfn-lint --append-rules cfn_lint_serverless.rules --template template.yaml
	@found=$$(.venv-checkov/bin/checkov --framework cloudformation --skip-download --compact --quiet --file template.yaml) || \
		{ echo "$$found" >&2; exit 1; }

# Eight at a time, for they mostly wait. With T, only the tests that it names: the quick way while working on one.
test: $(if $(T),setup,lint) ## Checks everything that CI checks
	@python3 tests/harness/pgbouncer.py
	@echo "building (takes minutes the first time)"
	@cargo build $(LOCAL) --bins
	@cargo test $(LOCAL) --no-run
	@$(if $(T),cargo test $(LOCAL) -- --list $(T) 2>/dev/null | grep -q ': test$$' || { echo "no test has $(T) in its name" >&2; exit 1; })
	@echo "testing"
	@RUST_TEST_THREADS=8 $(STACK) test -- cargo test $(LOCAL) $(T) || { echo "to run one test alone: make test T=<its name>" >&2; exit 1; }

# With T, only the subjects that it names, such as `make bench T="cold warm"`.
bench: setup ## Measures, each figure beside its floor, on what is deployed
	@echo "building as for a deployment (takes ten minutes the first time)" >&2
	@cargo build --quiet --release --package hello-world $(FUNCTIONS:%=--package %)
	@cargo build $(LOCAL) --bins
	@$(BENCH) --no-run
	@FUNCTIONS_DIR=$(abspath $(or $(CARGO_TARGET_DIR),target)/release) $(STACK) test -- $(BENCH) -- $(T)

# arm64 where Rust has that target, for it is what the template deploys; or else this machine's architecture.
build: setup ## Builds and checks the deployable functions, target/lambda/*/bootstrap.zip
	@.venv/bin/python tests/harness/build.py "$(ARCH)" $(FUNCTIONS)
