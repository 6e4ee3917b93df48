# The two commands of the README. As root, on Debian 12 with a Rust toolchain; what else they need they install.

# Servers and tools for the tests: programs only, no package that sets up a database of the machine's own.
PACKAGES := gcc libc6-dev mariadb-server-core mariadb-client mariadb-backup bubblewrap iproute2 util-linux mount \
	strace e2fsprogs zstd lz4

# The tutorial's pipeline, and what the bench keeps its processes with.
BENCH_PACKAGES := gcc libc6-dev mariadb-server-core mariadb-client mariadb-backup iproute2 util-linux mount ncat time

CARGO ?= cargo
TEST_THREADS ?= 4

.PHONY: help
help: ## Says what there is.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

.PHONY: demo
demo: packages ## Three pods from the shipped manifest, scaled, deleted, cloned again: watch it.
	@$(CARGO) test --locked --release --test demo --no-run
	@$(CARGO) test --quiet --locked --release --test demo

.PHONY: test
test: packages ## All tests.
	@$(CARGO) test --locked --release -- --test-threads=$(TEST_THREADS)

.PHONY: torture
torture: packages ## Random kills: ROUNDS=200 SEED=n, or one round again with SEED=n ROUND=n.
	@ROUNDS=$(ROUNDS) SEED=$(SEED) ROUND=$(ROUND) $(CARGO) test --quiet --locked --release --test torture

.PHONY: bench
bench: ## What a clone costs, against the tutorial's pipeline: RUNS=3, or parts alone with ONLY=transfer,clone.
	@tests/install-packages.sh $(BENCH_PACKAGES)
	@RUNS=$(RUNS) ONLY=$(ONLY) $(CARGO) test --quiet --locked --release --test bench

.PHONY: lint
lint: ## Format and lints, warnings as errors.
	@$(CARGO) fmt --check
	@$(CARGO) clippy --quiet --locked --release --all-targets -- --deny warnings

.PHONY: static
static: ## Whether the release binary needs anything but a kernel.
	@$(CARGO) build --quiet --locked --release --bin mysqlset
	@$(CARGO) test --quiet --locked --release --test binary

.PHONY: packages
packages:
	@tests/install-packages.sh $(PACKAGES)
