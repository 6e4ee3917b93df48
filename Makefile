# The two commands of the README, and others. As root, on Debian 12 with a Rust toolchain; they install their other needs.

# Servers and tools for the tests: programs only, no package that sets up a database of the machine's own.
PACKAGES := gcc libc6-dev mariadb-server-core mariadb-client mariadb-backup bubblewrap iproute2 iptables util-linux mount \
	strace e2fsprogs ncat openssl

# The tutorial's pipeline, and what the bench keeps its processes with.
BENCH_PACKAGES := gcc libc6-dev mariadb-server-core mariadb-client mariadb-backup iproute2 util-linux mount ncat time e2fsprogs

# An engine that builds and runs images, and what its base images and its pods' network are made with.
IMAGE_PACKAGES := buildah podman runc mmdebstrap qemu-user-static iproute2 util-linux mount dnsmasq-base binutils \
	python3 python3-yaml

# A package of another release, unpacked below target/.
KUSTOMIZE := target/tools/kustomize/root/usr/bin/kustomize

# What makes a book of docs/.
MDBOOK := target/tools/mdbook/bin/mdbook
MDBOOK_VERSION := 0.5.4

# Other servers, each unpacked with all that it needs and what the tests run beside it.
BESIDE_A_SERVER := dash coreutils sed grep strace e2fsprogs mount
MARIADB_11_8 := mariadb-server-core mariadb-client-core mariadb-backup bsdutils findutils util-linux $(BESIDE_A_SERVER)
MYSQL_9_7 := mysql-server-core mysql-client-core $(BESIDE_A_SERVER)

# Where tests that are left out on a server are noted, and those of servers that aren't there.
NOT_TESTED := $(CURDIR)/target/not-tested

CARGO ?= cargo

# A program of the harness, and the program under test beside it: one build of both.
BUILD = $(CARGO) build --locked --release --workspace --bin mysqlset
RUN = $(CARGO) run --quiet --locked --release --package mysqlset-harness --bin

# The runner's options that skip tests which the tested server cannot run, so that it counts none of them as passed.
LEFT_OUT = NOT_TESTED=$(NOT_TESTED) $(CARGO) test --quiet --locked --release --test left_out --

TEST_THREADS ?= 8

# The servers that `make test` runs the scenarios that tell most on, beside the machine's own, and those that
# `make test-family` runs all of them on.
ALSO ?= mariadb-11.8 mysql-9.7
FAMILY ?= mariadb-10.11 mariadb-11.8 mysql-9.7 mysql-9.7:off

ON_SERVERS = CARGO=$(CARGO) TEST_THREADS=$(TEST_THREADS) NOT_TESTED=$(NOT_TESTED) tests/on-servers.sh

# A stable toolchain does; no sanitizer, since what is fuzzed has no unsafe code and is an assertion's business.
FUZZ_BUILD := --sanitizer none --target-dir target/fuzz
FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_FOUND = target/fuzz/corpus/$(TARGET)

.PHONY: help
help: ## Says what there is.
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 12

.PHONY: demo
demo: $(if $(SERVER),servers,packages) ## Three pods from the shipped manifest, scaled, deleted, cloned again: watch it; SERVER=mysql.
	@$(BUILD) --bin demo
	@$(RUN) demo

.PHONY: test
test: servers ## All tests on MariaDB 10.11; first start, scale, plugin and accounts on others: ALSO=name.
	@rm -f $(NOT_TESTED)
	@skipped=$$($(LEFT_OUT) scenarios) && more=$$($(LEFT_OUT) crash_points) && NOT_TESTED=$(NOT_TESTED) \
		$(CARGO) test --locked --release --workspace -- --test-threads=$(TEST_THREADS) $$skipped $$more
	@$(ON_SERVERS) "first_start scale:: plugin:: a_set_makes_its_accounts" - $(ALSO)

# Each takes many clones, and a server of MySQL takes long for each of them.
.PHONY: crash-points
crash-points: servers ## The crash points that tell most, on the servers beside the machine's own: ALSO=name.
	@rm -f $(NOT_TESTED)
	@$(ON_SERVERS) - "kills::names_beside power_loss::lost_when_all_is_done" $(ALSO)

.PHONY: test-family
test-family: servers ## Scenarios and crash points on all servers, or on some: FAMILY="mariadb-11.8 mysql-9.7:off".
	@rm -f $(NOT_TESTED)
	@$(ON_SERVERS) "" "" $(FAMILY)

.PHONY: check
check: packages ## The manifests against Kubernetes' schemas and the program's own flags; lints of the Dockerfile and the workflows.
	@tests/install-packages.sh python3-venv
	@CARGO=$(CARGO) tests/check/run.sh $(KUSTOMIZE)
	@$(CARGO) test --quiet --locked --release --test manifests

.PHONY: e2e
e2e: ## The tutorial's page on the cluster that kubectl points to: E2E_OVERLAY=mariadb-secrets E2E_IMAGE=registry/mysqlset:tag.
	@tests/e2e/run.sh

.PHONY: image
image: ## The Dockerfile built by a real engine, and what it built in pods of the shipped manifest; 3 GB below target/image.
	@tests/install-packages.sh $(IMAGE_PACKAGES)
	@tests/fetch-packages.sh trixie target/tools/kustomize kustomize
	@CARGO=$(CARGO) tests/image/run.sh $(CURDIR)/$(KUSTOMIZE)

.PHONY: torture
torture: packages ## Random kills: ROUNDS=200 SEED=n TABLES=1500, or one round again with SEED=n ROUND=n.
	@$(BUILD) --quiet --bin torture
	@ROUNDS=$(ROUNDS) SEED=$(SEED) ROUND=$(ROUND) TABLES=$(TABLES) $(RUN) torture

.PHONY: proof
proof: packages $(if $(SERVER),servers) ## Copies under kills, limits, full disks and damage: all rounds, or ROUNDS=n ONLY=kind SEED=n ROUND=n LANES=n.
	@if [ -z "$(ROUNDS)$(ROUND)$(ONLY)" ]; then ROUNDS=all; fi; \
		ROUNDS=$${ROUNDS:-$(ROUNDS)} ONLY=$(ONLY) SEED=$(SEED) ROUND=$(ROUND) LANES=$(LANES) PROGRAM=$(PROGRAM) \
		$(CARGO) test --quiet --locked --release --test proof

.PHONY: load
load: packages ## Clones and probes while strangers hold 1,000 connections to each port, or make 2,000 a second.
	@$(BUILD) --quiet --bin load
	@$(RUN) load

.PHONY: field
field: servers ## Main scenarios under conditions of the field: all, or ONLY=condition[,condition]/scenario/server LANES=n.
	@FIELD=all ONLY=$(ONLY) LANES=$(LANES) MINUTES=$(MINUTES) RECORD=$(RECORD) RESUME=$(RESUME) PATIENCE=$(PATIENCE) \
		$(CARGO) test --quiet --locked --release --test field

.PHONY: bench
bench: ## A clone against the tutorial's pipeline: RUNS=5; parts alone with ONLY=transfer,clone; DISK=memory; LINK=200 (MB/s).
	@tests/install-packages.sh $(BENCH_PACKAGES)
	@$(BUILD) --quiet --bin bench
	@RUNS=$(RUNS) ONLY=$(ONLY) DISK=$(DISK) LINK=$(LINK) $(RUN) bench

.PHONY: fuzz
fuzz: RUNS ?= 10000000
fuzz: ## A parser fed at random: TARGET=tar RUNS=10000000; the targets are those of fuzz/fuzz_targets/.
	@test -f "fuzz/fuzz_targets/$(TARGET).rs" || { echo "TARGET=name is one of:" $(FUZZ_TARGETS); exit 1; }
	@tests/install-packages.sh g++
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { \
		echo "installing cargo-fuzz"; $(CARGO) install --quiet --locked cargo-fuzz --version 0.13.2; }
	@echo "building the target $(TARGET), then $(RUNS) runs; inputs that it learns from are left in $(FUZZ_FOUND)"
	@mkdir -p $(FUZZ_FOUND)
	@RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $(FUZZ_BUILD) $(TARGET) $(FUZZ_FOUND) fuzz/corpus/$(TARGET) -- \
		-runs=$(RUNS) -timeout=10

.PHONY: fuzz-keep
fuzz-keep: ## What fuzzing of TARGET has found joins fuzz/corpus/: the fewest inputs that reach all that is reached.
	@rm -rf $(FUZZ_FOUND).kept && mkdir -p $(FUZZ_FOUND) $(FUZZ_FOUND).kept
	@RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $(FUZZ_BUILD) $(TARGET) $(FUZZ_FOUND).kept fuzz/corpus/$(TARGET) $(FUZZ_FOUND) -- \
		-set_cover_merge=1 -use_counters=0
	@rm -r fuzz/corpus/$(TARGET) && mv $(FUZZ_FOUND).kept fuzz/corpus/$(TARGET)

.PHONY: lint
lint: ## Format and lints, warnings as errors; the book: its facts, links and prose.
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --quiet --locked --release --workspace --all-targets -- --deny warnings
	@$(CARGO) test --quiet --locked --release --test book --test links --test prose

.PHONY: book
book: ## The book of docs/, by mdBook, into target/book.
	@$(MDBOOK) --version >/dev/null 2>&1 || { echo "installing mdBook $(MDBOOK_VERSION)"; \
		$(CARGO) install --quiet --locked mdbook --version $(MDBOOK_VERSION) --root $(CURDIR)/target/tools/mdbook; }
	@$(MDBOOK) build docs

.PHONY: audit
audit: ## Dependencies by cargo-deny: advisories, licences, sources, doubles; it needs crates.io and RustSec's database.
	@CARGO=$(CARGO) tests/audit/run.sh

.PHONY: static
static: ## Whether the release binary needs anything but a kernel.
	@$(CARGO) build --quiet --locked --release --bin mysqlset
	@$(CARGO) test --quiet --locked --release --test binary

.PHONY: packages
packages:
	@tests/install-packages.sh $(PACKAGES)
	@tests/fetch-packages.sh trixie target/tools/kustomize kustomize
	@tests/fetch-packages.sh bookworm target/plugins/mariadb-10.11 mariadb-server

# Debian's unstable release is not there every day as one would have it; what can't be tested then is said at the end.
.PHONY: servers
servers: packages
	@tests/fetch-packages.sh --whole trixie target/servers/mariadb-11.8 $(MARIADB_11_8)
	@tests/fetch-packages.sh --whole sid target/servers/mysql-9.7 $(MYSQL_9_7) || echo "going on without MySQL 9.7"
