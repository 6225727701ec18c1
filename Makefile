# The habits of this repository. `make help` lists them.
.PHONY: help test test-only install-test-tools lint fmt bench bench-load bench-server bench-tokens docs run clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

test: install-test-tools test-only ## install what the tests need, then run them all

test-only: ## run all tests with what is installed
	scripts/test

install-test-tools: ## nginx, haproxy, caddy, chromium, Python, PostgreSQL, Redis (Debian; says what it cannot install)
	scripts/install-test-tools

lint: ## format, clippy, supply chain; warnings are errors
	scripts/lint

fmt: ## format the code
	cargo fmt --all

bench: ## micro-benchmarks
	cargo bench --workspace --all-features

bench-load: ## the load engine beside wrk, oha, hey and h2load on the same server (a quarter of an hour on a quiet machine)
	cargo build --release -p jwt-assay --examples --bins
	scripts/bench-load

bench-server: ## the reference server beside its floors: ratios from one run
	cargo bench -p jwt-reference-server --bench ratios

bench-tokens: ## the reference server's stores with a million live tokens: memory per token, each operation beside the empty store
	cargo bench -p jwt-reference-server --all-features --bench live_tokens

docs: ## the API documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --document-private-items

run: ## the main job
	cargo run --release -- run scenarios/bare-vs-proxy.yaml

clean: ## remove what was built
	cargo clean
