# Meridian. `make demo` shows it at work, `make test` proves it; both first install what is missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Cargo installed by rustup is found also where no login shell has set the path.
export PATH := $(HOME)/.cargo/bin:$(PATH)

# RocksDB takes ten minutes to compile on two cores. With sccache that happens once a machine, not once a clone.
SCCACHE = $(shell command -v sccache || true)
export RUSTC_WRAPPER ?= $(SCCACHE)

DEMO ?= $(or $(CARGO_TARGET_DIR),target)/release/meridian-demo
COMPARE ?= $(or $(CARGO_TARGET_DIR),target)/release/meridian-compare

.PHONY: help setup walls build demo bench bench-partitions test lint fmt deny clean

help: ## Say what can be made.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

setup: ## Install what building and testing need and this machine lacks (apt, with sudo where needed).
	@xtask/setup.sh

build: setup ## Build `meridian` and the demo, optimised: target/release/meridian.
	cargo build --release -p meridian-daemon -p meridian-demo

demo: build ## Three nodes, 20,000 flights, leaders killed on the way; every flight is accounted for.
	$(DEMO)

# BENCH passes options on: `make bench BENCH="--half-seconds 60 --no-nats"`. Nothing else should run meanwhile.
bench: setup ## Three nodes under load, what this machine could do at most, and NATS JetStream if it is installed.
	cargo build --release -p meridian-daemon -p meridian-compare
	$(COMPARE) $(BENCH)

bench-partitions: setup ## Five hundred partitions: at rest, when leaders die, and under load. Needs root, half an hour.
	cargo build --release -p meridian-daemon -p meridian-compare
	$(COMPARE) partitions $(BENCH)

test: setup walls ## The whole suite, stage by stage, with what each stage took of its budget.
	cargo xtask verify

lint: ## What the suite says about code without running it.
	cargo xtask verify --only format --only codegen --only tidy --only clippy --only docs

fmt: ## Format the code.
	cargo fmt --all

walls: setup ## Install cargo-deny, which holds the walls between the rooms up, where it is missing (some minutes).
	@cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked

deny: walls ## Walls, licences and sources.
	cargo deny check bans licenses sources

clean: ## Remove what was built. Compiler caches outside the clone stay.
	cargo clean
