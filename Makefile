# The two commands of the README are `make demo` and `make test`; both start from nothing on a Debian machine with Rust.

CARGO ?= cargo
# One profile and one set of dependency features, so that `make test` reuses what `make demo` built.
export CARGO_TERM_COLOR ?= auto

.PHONY: help demo test lint fmt install bench tools clippy-tools

help:
	@echo 'make demo     build, make a small raw reservoir, run everything on it, show what came out'
	@echo 'make test     formatting, lints, all tests'
	@echo 'make install  build for real use (release) and install the neartime binary'
	@echo 'make bench    compare speed and memory with other engines (see bench/)'
	@echo 'make lint     formatting, lints, and licences and advisories where cargo-deny is installed'

demo: tools
	$(CARGO) run --locked --package neartime -- demo

test: tools clippy-tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked --workspace -- --quiet

lint: clippy-tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo 'cargo-deny is not installed: licences and advisories were not checked'; fi

fmt:
	$(CARGO) fmt --all

install: tools
	$(CARGO) install --locked --path cli

bench: tools
	bench/run

# SQLite and zstd are compiled from C.
tools:
	@command -v $(CARGO) >/dev/null || { echo 'Rust is missing: see https://rustup.rs'; exit 1; }
	@command -v cc >/dev/null || .ci/install-packages gcc libc6-dev

clippy-tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
