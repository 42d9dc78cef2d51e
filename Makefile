# The two commands of the README are `make demo` and `make test`; both start from nothing on a Debian machine with Rust.

CARGO ?= cargo
# One profile and one set of dependency features, so that `make test` reuses what `make demo` built.
export CARGO_TERM_COLOR ?= auto
SERVERS = --features neartime/servers

.PHONY: help demo demo-services test test-embedded test-faults lint clippy fmt install bench services tools clippy-tools python curl

help:
	@echo 'make demo     build, make a small raw reservoir, run everything on it, show what came out'
	@echo 'make test     formatting, lints, all tests; starts PostgreSQL, Cassandra and moto for them, and stops them again'
	@echo 'make install  build for real use (release, with the clients of all servers) and install the neartime binary'
	@echo 'make bench    compare speed and memory with other engines (see bench/)'
	@echo
	@echo 'make demo-services  the demo on PostgreSQL, Cassandra and moto instead of SQLite and directories'
	@echo 'make test-embedded  the tests that need no server, of a build without the clients of any'
	@echo 'make test-faults    the long fault tests: half an hour of killed workers and failing services'
	@echo 'make services       start the servers and leave them running, so that tests start at once (infra/dev/services)'
	@echo 'make lint           formatting, lints; licences and advisories where cargo-deny is installed, alerts where promtool is'

demo: tools
	$(CARGO) run --locked --package neartime -- demo

# The demo once more on PostgreSQL, Cassandra and moto, which stay up afterwards.
demo-services: tools python curl
	$(CARGO) build --locked --package neartime $(SERVERS)
	infra/dev/demo

# Everything, against real servers: what was not running before is stopped afterwards.
test: tools clippy python
	infra/dev/services run $(CARGO) test --locked --workspace $(SERVERS) -- --quiet

test-embedded: tools
	$(CARGO) test --locked --workspace --no-default-features -- --quiet

test-faults: tools python
	NEARTIME_TEST_LONG=1 infra/dev/services run \
		$(CARGO) test --locked --package neartime-tests -- --nocapture --test-threads 1 servers::faults

services: python
	infra/dev/services start

lint: clippy
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo 'cargo-deny is not installed: licences and advisories were not checked'; fi
	@if command -v promtool >/dev/null; then promtool test rules infra/prometheus/alerts_test.yaml; \
	else echo 'promtool is not installed: the alert rules were not tested'; fi

# Both builds: the embedded default, and the one with all servers.
clippy: clippy-tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --package neartime --all-targets -- -D warnings
	$(CARGO) clippy --locked --workspace --all-targets $(SERVERS) -- -D warnings

fmt:
	$(CARGO) fmt --all

install: tools
	$(CARGO) install --locked --path cli --features servers

bench: tools python
	bench/run
	infra/dev/services run bench/servers

# SQLite and zstd are compiled from C.
tools:
	@command -v $(CARGO) >/dev/null || { echo 'Rust is missing: see https://rustup.rs'; exit 1; }
	@command -v cc >/dev/null || .ci/install-packages gcc libc6-dev

clippy-tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy

python:
	@command -v python3 >/dev/null || .ci/install-packages python3 python3-venv

curl:
	@command -v curl >/dev/null || .ci/install-packages curl
