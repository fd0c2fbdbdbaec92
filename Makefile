# Everything that is built, shown and tested. `make help` lists it.

CARGO ?= cargo

.PHONY: help build demo test check unit simulate scale mutants namespaces measure bench docs install clean

help:                   ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

build:                  ## the programs, optimised, in target/release
	$(CARGO) build --release --locked -p vippyd -p vippyctl

demo:                   ## a cluster of three in network namespaces, and a failure
	$(CARGO) build --release --locked -p vippyd -p vippyctl -p vippy-tests --bin vippyd --bin vippyctl --bin demo
	./target/release/demo

test:                   ## everything that is tested
	./scripts/test all

check:                  ## formatting, lints, documentation
	./scripts/test check

unit:                   ## tests that need no privileges
	./scripts/test unit

simulate:               ## the simulated LAN, many seeds: make simulate SEEDS=100000
	$(CARGO) run --release --locked -p vippy-tests --bin simulate -- --seeds $(or $(SEEDS),20000)

scale:                  ## ten thousand groups on a hundred simulated nodes: minutes
	$(CARGO) test --release --locked -p vippy-tests --test simulation -- --ignored scale

mutants:                ## the simulated LAN with one rule broken at a time
	./scripts/test mutants

namespaces:             ## real daemons in network namespaces
	./scripts/test namespaces

measure:                ## outages, floods, restarts in figures: docs/MEASUREMENTS.md
	$(CARGO) build --release --locked -p vippyd -p vippyctl -p vippy-tests --bin vippyd --bin vippyctl --bin measure
	./target/release/measure all

bench:                  ## beside keepalived and others, as ratios: docs/BENCHMARKS.md
	$(CARGO) bench --locked -p vippy-core --benches
	$(CARGO) build --release --locked -p vippyd -p vippy-tests --bin vippyd --bin bench --bin bulk
	./target/release/bench

docs:                   ## the key reference and man page, from docs/keys.toml
	$(CARGO) run --locked -p vippy-tests --bin reference

install:                ## what `make build` made, see docs/OPERATIONS.md
	./scripts/install

clean:                  ## remove what was built
	$(CARGO) clean
