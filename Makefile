# Everything that is checked before a change is good. `make` alone says what there is.

.DEFAULT_GOAL := help
.PHONY: help setup lint unit clients-ready clients clients-cluster cluster run-tests soak upgrade mutations recovery stutter instructions instructions-update test fuzz seeds corpus
.NOTPARALLEL:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Cargo must not change the lockfile behind anyone's back.
CARGO := cargo --locked
# Debian has nats-server where only root looks for commands.
export PATH := $(PATH):/usr/sbin
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
CLIENTS := tests/clients
NODE_MODULES := $(CLIENTS)/node_modules/.package-lock.json
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
STARTED := $(shell date +%s)

# apt needs root; who is root needs no sudo, and may not have one.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get

help: ## Say what there is to make
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 28

test: setup lint run-tests instructions ## Everything CI runs
	@echo "all checks passed in $$(( $$(date +%s) - $(STARTED) )) s: fmt, clippy, rustdoc, cargo deny, cargo test, npm clients, cluster, instructions"

# Only setup installs. The other targets say what is missing, so that nobody's machine changes unasked.
INSTALL = $(APT) update && $(APT) install -y --no-install-recommends
HAS_CC = command -v cc >/dev/null
HAS_RUSTFMT = cargo fmt --version >/dev/null 2>&1
HAS_CLIPPY = cargo clippy --version >/dev/null 2>&1
HAS_CARGO_DENY = cargo deny --version >/dev/null 2>&1
HAS_CARGO_FUZZ = cargo fuzz --version >/dev/null 2>&1
HAS_VALGRIND = command -v valgrind >/dev/null
# The clients' tests make certificates with it.
HAS_OPENSSL = command -v openssl >/dev/null
# They look at pages with it. CHROMIUM in the environment names another browser.
HAS_CHROMIUM = test -x "$${CHROMIUM:-/usr/bin/chromium}"
# Not by the name of a command: the library is what a broker under test is started with.
HAS_FAKETIME = ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1
# The engines' tests start them.
HAS_REDIS = command -v redis-server >/dev/null
HAS_NATS = command -v nats-server >/dev/null
# The gRPC server of Rails applications, for what a broker asks them.
HAS_RUBY_GRPC = ruby -rgrpc -e '' 2>/dev/null
# The manual's application in Python is run.
HAS_PYTHON = command -v python3 >/dev/null
HAS_NODE_MODULES = test ! $(CLIENTS)/package.json -nt $(NODE_MODULES) -a ! $(CLIENTS)/package-lock.json -nt $(NODE_MODULES)
# $(call need,CHECK,NAME,FLAGS): ends with a sentence unless the check succeeds.
need = $(1) || { echo "$(2) is missing: \`make setup$(3)\` installs it" >&2; exit 1; }
# Beside what apt does, since it takes twice as long.
BUILD_CARGO_DENY = CARGO_PROFILE_DEV_DEBUG=none cargo install --locked --debug cargo-deny@$(CARGO_DENY_VERSION)

setup: $(NODE_MODULES) ## Install what the checks need, if it is missing; FUZZ=1 adds what `make fuzz` needs
	@building=; trap 'kill $$building 2>/dev/null || true' EXIT; \
		$(HAS_CARGO_DENY) || { $(HAS_CC) || { $(INSTALL) gcc libc6-dev; }; $(BUILD_CARGO_DENY) & building=$$!; }; \
		missing=; \
		$(HAS_CC) || missing+=" gcc libc6-dev"; \
		$(HAS_OPENSSL) || missing+=" openssl"; \
		$(HAS_CHROMIUM) || missing+=" chromium"; \
		$(HAS_FAKETIME) || missing+=" faketime"; \
		$(HAS_REDIS) || missing+=" redis-server"; \
		$(HAS_NATS) || missing+=" nats-server"; \
		$(HAS_RUBY_GRPC) || missing+=" ruby ruby-grpc"; \
		$(HAS_PYTHON) || missing+=" python3"; \
		$(HAS_VALGRIND) || missing+=" valgrind"; \
		[ -z "$$missing" ] || { $(INSTALL) $$missing; }; \
		[ -z "$$building" ] || wait $$building
	@$(HAS_RUSTFMT) || rustup component add rustfmt
	@$(HAS_CLIPPY) || rustup component add clippy
ifdef FUZZ
	@command -v c++ >/dev/null || { $(INSTALL) g++; }
	@$(HAS_CARGO_FUZZ) || cargo install --locked cargo-fuzz@$(CARGO_FUZZ_VERSION)
endif

$(NODE_MODULES): $(CLIENTS)/package.json $(CLIENTS)/package-lock.json
	@command -v npm >/dev/null || { $(INSTALL) nodejs npm; }
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 12) ? 0 : 1)' \
		|| { echo "Node.js 20.12 or newer is needed for the tests; here is $$(node --version)" >&2; exit 1; }
	npm --prefix $(CLIENTS) ci --no-audit --no-fund
	@touch $@

lint: ## Format, clippy, rustdoc, dependencies; warnings are errors
	@$(call need,$(HAS_RUSTFMT),rustfmt)
	@$(call need,$(HAS_CLIPPY),clippy)
	@$(call need,$(HAS_CARGO_DENY),cargo-deny)
	cargo fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features instructions -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	cargo deny --locked check bans licenses sources

unit: ## Rust's tests, doctests included
	@$(call need,$(HAS_REDIS),redis-server)
	@$(call need,$(HAS_NATS),nats-server)
	$(CARGO) test --workspace --config 'target."cfg(unix)".runner = "scripts/test-threads.sh"'

clients-ready:
	@$(call need,$(HAS_NODE_MODULES),an up-to-date $(CLIENTS)/node_modules)
	@$(call need,$(HAS_FAKETIME),libfaketime)
	@$(call need,$(HAS_OPENSSL),openssl)
	@$(call need,$(HAS_CHROMIUM),chromium)
	@$(call need,$(HAS_RUBY_GRPC),ruby-grpc)
	@$(call need,$(HAS_PYTHON),python3)
	@# the broker that `make unit` builds, too: alone, it would have other features, and be built once more
	$(CARGO) test --workspace --no-run --test process

clients: clients-ready ## The stock npm clients against the real binary
	BROKER_BIN=$(TARGET_DIR)/debug/broker npm --prefix $(CLIENTS) test

cluster: clients-ready ## Several nodes on a real Redis or NATS, under the stock clients
	@$(call need,$(HAS_REDIS),redis-server)
	@$(call need,$(HAS_NATS),nats-server)
	BROKER_BIN=$(TARGET_DIR)/debug/broker npm --prefix tests/cluster test

# Which of the clients' tests run with an engine, and with which: redis or nats.
ENGINE = redis
FILES =

clients-cluster: clients-ready ## The stock clients, with an engine behind each broker: ENGINE=redis, or nats; FILES="ttl.test.js"
	@$(call need,$(HAS_REDIS),redis-server)
	@$(call need,$(HAS_NATS),nats-server)
	BROKER_BIN=$(TARGET_DIR)/debug/broker ENGINE=$(ENGINE) npm --prefix tests/cluster run clients -- $(FILES)

# The program of `make instructions` is built beside the tests, with the time they leave while they wait for servers, leases and
# timeouts. Each profile has a folder and a lock of its own in `target`, so neither waits for the other. A test that fails ends the build.
run-tests:
	@$(call need,$(HAS_VALGRIND),valgrind)
	$(CARGO) test --workspace --no-run
	nice -n 19 $(CARGO) build --quiet $(COUNTER) & built=$$!; trap 'kill $$built 2>/dev/null || true' EXIT; \
		$(MAKE) --no-print-directory unit clients cluster && wait $$built

# For how long, with which seed: nothing of it is in the shell's own SECONDS.
soak: clients-ready ## The same at random and for long: SECONDS=3600 SEED=1
	@$(call need,$(HAS_REDIS),redis-server)
	@$(call need,$(HAS_NATS),nats-server)
	@$(call need,$(HAS_CC),a C compiler)
	env SECONDS=$(if $(filter command line,$(origin SECONDS)),$(SECONDS),0) $(if $(SEED),SEED=$(SEED)) \
		BROKER_BIN=$(TARGET_DIR)/debug/broker npm --prefix tests/cluster run soak

# A git ref: the version before.
FROM =

upgrade: clients-ready ## Nodes of FROM=<git ref> are replaced by those of this version, under load: tests/cluster/upgrade.js
	@$(call need,$(HAS_REDIS),redis-server)
	@$(call need,$(HAS_NATS),nats-server)
	scripts/upgrade.sh $(FROM)

mutations: ## Turn off one rule of the log at a time: the simulator, or the model of Redis, must notice
	scripts/mutations.sh $(RULES)

recovery: ## What can happen to a log that Redis loses, in larger scopes than `make unit` tries
	@$(call need,$(HAS_REDIS),redis-server)
	$(CARGO) test --lib engine::redis::model -- --include-ignored --nocapture

# Which of their tests, and for how many ms a thread is stopped at most.
TESTS = *.test.js
LONGEST = 60

stutter: clients-ready ## The same while threads are stopped at random: finds tests that race
	@$(call need,$(HAS_CC),a C compiler)
	cc -O2 -Wall -Wextra -shared -fPIC -o $(TARGET_DIR)/stutter.so scripts/stutter.c -ldl
	cd $(CLIENTS) && BROKER_BIN=$(TARGET_DIR)/debug/broker STUTTER_MS=$(LONGEST) LD_PRELOAD=$(TARGET_DIR)/stutter.so \
		node --test --test-reporter=spec --test-concurrency=4 $(TESTS)

COUNTER = --profile instructions --features instructions --bin instructions
COUNT = $(CARGO) run $(COUNTER)

instructions: ## How many instructions the core needs, against what is on record
	@$(call need,$(HAS_VALGRIND),valgrind)
	$(COUNT)

instructions-update: ## Put on record how many it needs now
	@$(call need,$(HAS_VALGRIND),valgrind)
	$(COUNT) update

# What `make fuzz` fuzzes, and for how long each.
TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
SECONDS = 60

# Sanitizers are for nightly compilers alone. Without one the fuzzers still find panics, which is
# what there is to find where nothing is unsafe.
CARGO_FUZZ = $(if $(shell rustup toolchain list 2>/dev/null | grep ^nightly),cargo +nightly fuzz run,RUSTC_BOOTSTRAP=1 cargo fuzz run -s none)

fuzz: ## Fuzz every target for SECONDS=60 each, or only TARGETS="shard websocket"
	@$(call need,$(HAS_CARGO_FUZZ),cargo-fuzz, FUZZ=1)
	@for target in $(TARGETS); do \
		mkdir -p fuzz/found/$$target; \
		tar -xzf fuzz/corpus/$$target.tar.gz --skip-old-files -C fuzz/found/$$target; \
		known=$$(ls -d fuzz/regressions/$$target 2>/dev/null || true); \
		words=$$(ls fuzz/dictionaries/$$target.dict 2>/dev/null || true); \
		(set -x; $(CARGO_FUZZ) $$target fuzz/found/$$target $$known -- \
			-max_total_time=$(SECONDS) -max_len=2048 -timeout=10 $${words:+-dict=$$words}); \
	done

seeds: ## Write inputs of `state` and `replicas` in the encoding as it is now
	FUZZ_SEEDS=fuzz/found $(CARGO) test --test model seeds::

corpus: ## Keep of what the fuzzers found the inputs that reach more code: TARGETS="shard websocket"
	@$(call need,$(HAS_CARGO_FUZZ),cargo-fuzz, FUZZ=1)
	@for target in $(TARGETS); do \
		rm -rf fuzz/merged && mkdir -p fuzz/merged fuzz/found/$$target; \
		tar -xzf fuzz/corpus/$$target.tar.gz --skip-old-files -C fuzz/found/$$target; \
		(set -x; $(CARGO_FUZZ) $$target fuzz/merged fuzz/found/$$target -- -merge=1 -use_counters=0); \
		tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar \
			-C fuzz/merged -cf - $$(ls fuzz/merged) | gzip -9n > fuzz/corpus/$$target.tar.gz; \
		rm -rf fuzz/merged; \
	done
