# Everything a developer, CI or a curious visitor does here. `make` alone lists it.
#
# The static binaries that go into the images are the only release build: `run`, `images` and `demo` share it.

.DEFAULT_GOAL := help
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

CLUSTER_TOOLS := tests/cluster
CHART := charts/dnsproxy-operator
TRIPLE := $(shell uname -m)-unknown-linux-gnu
RELEASE := $(or $(CARGO_TARGET_DIR),target)/$(TRIPLE)/release
# Naming the target keeps the static flag away from build scripts and macros, which cannot be linked so.
STATIC := -C target-feature=+crt-static
# The compiler is told which code is hot (`make profile`). What it was told of code that has changed since it leaves aside.
PROFILE := $(CURDIR)/proxy/pgo.profdata
STATIC_BUILD := RUSTFLAGS="$(STATIC) -C profile-use=$(PROFILE)" cargo build --release --locked --target $(TRIPLE)
COUNTING := $(or $(CARGO_TARGET_DIR),target)/counting
# What measures must not be slow itself; what it depends on is optimised in any profile, and shared with `check`.
BENCH_BUILD := cargo build --quiet --locked --workspace --example load --example responder --example forwarder --example verify \
  --config profile.dev.package.dnsproxy-tests.opt-level=3 --config profile.dev.package.dnsproxy-tests.debug-assertions=false
GENERATED := crds/dnsproxies.yaml $(CHART)/files/dnsproxies.yaml

export PATH := $(CURDIR)/$(CLUSTER_TOOLS)/.build/bin:$(PATH)

##@ Use it
.PHONY: run demo cluster cluster-down
run: ## Resolve over DNS-over-TLS on 127.0.0.1:5300, without a cluster (ARGS="run -f FILE" for more)
	@$(CLUSTER_TOOLS)/require.sh build
	@$(STATIC_BUILD) -p dnsproxy
	$(RELEASE)/dnsproxy $(or $(ARGS),run)

demo: images ## From nothing to a pod that resolves through DnsProxy, in a real cluster
	@$(CLUSTER_TOOLS)/demo/run.sh

cluster: images ## Bring a Kubernetes cluster up, with the images loaded (NODES=2, CLUSTER=kind|plain)
	@$(CLUSTER_TOOLS)/up.sh

cluster-down: ## Take the cluster down; nothing of it is left
	@$(CLUSTER_TOOLS)/down.sh

##@ Work on it
.PHONY: check test e2e bench profile generate images
check: ## Format, lints, unit and integration tests: minutes
	@$(CLUSTER_TOOLS)/require.sh test
	@! command -v go >/dev/null || $(CLUSTER_TOOLS)/build.sh coredns
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --locked

test: ## All of it, as CI does: check, generated files, the chart, and the cluster
	@$(CLUSTER_TOOLS)/require.sh cluster \
	  || echo "No cluster can be made here (see above): everything but the end-to-end tests will run." >&2
	@$(MAKE) check drift chart
	@if $(CLUSTER_TOOLS)/require.sh --look cluster; then $(MAKE) e2e; \
	  else echo "NOT RUN: make e2e, the end-to-end tests in a cluster, for want of the above." >&2; fi

e2e: images ## The end-to-end tests, in a cluster (one that is up is used, and left up)
	@$(CLUSTER_TOOLS)/e2e.sh $(ARGS)

bench: ## Compare with unbound, dnsdist, dnsmasq and CoreDNS on this machine (root; ARGS="hit" for one part of it)
	@$(CLUSTER_TOOLS)/require.sh bench
	@$(STATIC_BUILD) -p dnsproxy
	@$(BENCH_BUILD)
	@tests/bench/run.sh $(ARGS)

profile: ## Count which code is hot, for the release builds (root; after large changes, and after each new compiler)
	@$(CLUSTER_TOOLS)/require.sh bench
	@rustup component add llvm-tools
	@RUSTFLAGS="$(STATIC) -C profile-generate" cargo build --release --locked --target $(TRIPLE) --target-dir $(COUNTING) -p dnsproxy
	@$(BENCH_BUILD)
	@BIN=$(COUNTING)/$(TRIPLE)/release/dnsproxy tests/bench/run.sh profile

generate: ## Write the files that are made from the code
	@cargo run --quiet --locked -p dnsproxy-operator -- crd > crds/.new || { rm crds/.new; exit 1; }
	@for file in $(GENERATED); do cp crds/.new $$file; done; rm crds/.new

images: ## The container images, as archives and (where a Docker engine runs) in Docker
	@$(CLUSTER_TOOLS)/require.sh build
	@# One by one: with the features of both, the proxy's dependencies would not be the ones that were profiled.
	@$(STATIC_BUILD) -p dnsproxy
	@$(STATIC_BUILD) -p dnsproxy-operator
	@$(CLUSTER_TOOLS)/images/build.sh dnsproxy dnsproxy-operator
	@! docker info >/dev/null 2>&1 \
	  || for image in dnsproxy dnsproxy-operator; do docker load --input $(CLUSTER_TOOLS)/.build/images/$$image.tar; done

.PHONY: drift chart
drift:
	@sums=$$(sha256sum $(GENERATED)); $(MAKE) generate; sha256sum --quiet --check <<< "$$sums" \
	  || { echo "The files above are made from the code, and were not: commit what make generate wrote." >&2; exit 1; }

chart:
	@command -v helm >/dev/null || $(CLUSTER_TOOLS)/build.sh helm
	helm lint --strict $(CHART)

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
