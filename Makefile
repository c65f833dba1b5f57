# Everything starts here: make help

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.11.4
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.gitCommit=$(COMMIT)

# Where the host keeps image archives for boot to import.
BUNDLES ?= /var/lib/boot/images

# Packages and tools that a fresh Debian lacks: command or file, then package.
DEPS := nft:nftables iptables:iptables ip:iproute2 gcc:gcc git:git pkg-config:pkg-config unshare:util-linux zstd:zstd dbus-daemon:dbus-daemon

include images.mk

.PHONY: help deps build race up down test unit e2e lint generate bench conformance conformance-node vm-deps vm-test clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

deps: ## Install the Debian packages that building and running need
	@missing=""; for d in $(DEPS); do command -v $${d%%:*} >/dev/null || missing="$$missing $${d##*:}"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

engine/bundled/engine.tar.zst: images
	@dir="$$($(MAKE) -s images-dir)"; cmp -s "$$dir/engine.tar.zst.sha256" $@.sha256 || \
		cp "$$dir/engine.tar.zst" "$$dir/engine.tar.zst.sha256" engine/bundled/

build: engine/bundled/engine.tar.zst ## Build bin/boot with its container engine inside
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/boot ./cmd/boot

race: engine/bundled/engine.tar.zst
	CGO_ENABLED=1 go build -race -trimpath -ldflags '$(LDFLAGS)' -o bin/boot-race ./cmd/boot

up: deps build ## Bring up a cluster on this host and show it
	@install -d $(BUNDLES); dir="$$($(MAKE) -s images-dir)/images"; \
	for image in $$(ls $$dir | grep '\.tar$$' | grep -v testbox); do \
		cmp -s $$dir/$$image $(BUNDLES)/$$image || cp $$dir/$$image $(BUNDLES)/; done
	bin/boot init
	@kubectl="$$($(MAKE) -s images-dir)/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf"; \
	$$kubectl wait --for=condition=Ready node --all --timeout=120s; \
	$$kubectl wait --for=condition=Ready pod -n kube-system -l tier=control-plane --timeout=120s; \
	$$kubectl wait --for=condition=Available deployment/coredns -n kube-system --timeout=120s; \
	$$kubectl get nodes -o wide; $$kubectl get pods -A -o wide

down: ## Take the cluster down again; the host is as before
	bin/boot reset --force --purge

test: deps images unit e2e lint ## Run everything: unit tests, real components, end to end, linters

# One package after the other: those with real engines want the machine for themselves.
unit: engine/bundled/engine.tar.zst
	cd images && go test -race ./...
	cd images/conformance/programs && go test -race ./...
	go test -race -p 1 $$(go list ./... | grep -v /e2e)

e2e: build race images-upstream images-previous
	BOOT_BIN=$(CURDIR)/bin/boot-race go test -race -count=1 -parallel 4 -timeout 60m ./e2e/...

# Which of upstream's tests `make conformance` runs, how many at a time, against
# boot or the kubelet and kubeadm of upstream, and where it leaves the results.
FOCUS   ?= \[NodeConformance\]
SKIP    ?=
PROCS   ?= 4
KUBELET ?= boot
RESULTS ?= bin/conformance

conformance: build images-conformance ## Run upstream's end-to-end tests that FOCUS names against boot
	@test "$(KUBELET)" != upstream || $(MAKE) --no-print-directory images-upstream
	BOOT_BIN=$(CURDIR)/bin/boot CONFORMANCE_DIR="$$(images/conformance/dir.sh)" CONFORMANCE_FOCUS='$(FOCUS)' CONFORMANCE_SKIP='$(SKIP)' \
		CONFORMANCE_PROCS=$(PROCS) CONFORMANCE_KUBELET=$(KUBELET) CONFORMANCE_OUT=$(abspath $(RESULTS)) \
		go test -tags conformance -run 'TestConformance$$' -v -count=1 -timeout 24h ./e2e

conformance-node: build images-conformance ## Run upstream's tests of the node that FOCUS names against boot
	cd images/conformance/programs && CGO_ENABLED=0 go test -c -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/e2e_node.test k8s.io/kubernetes/test/e2e_node
	BOOT_BIN=$(CURDIR)/bin/boot CONFORMANCE_DIR="$$(images/conformance/dir.sh)" CONFORMANCE_FOCUS='$(FOCUS)' CONFORMANCE_SKIP='$(SKIP)' \
		CONFORMANCE_NODE=$(CURDIR)/bin/e2e_node.test CONFORMANCE_OUT=$(abspath $(RESULTS)) \
		go test -tags conformance -run 'TestConformanceNode$$' -v -count=1 -timeout 24h ./e2e

# What an emulated machine needs beside, and which of its tests `make vm-test` runs.
VM_DEPS := qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils debootstrap:debootstrap mke2fs:e2fsprogs
RUN     ?= .

vm-deps:
	@$(MAKE) --no-print-directory deps DEPS='$(VM_DEPS)'

vm-test: build vm-deps ## Run boot on an emulated machine with systemd and cgroup v2: takes an hour
	BOOT_BIN=$(CURDIR)/bin/boot go test -tags vm -run '$(RUN)' -v -count=1 -timeout 6h ./e2e/vm

lint: ## Run the linters, which also hold the import arrows
	go vet ./...
	go run $(GOLANGCI_LINT) run --allow-parallel-runners ./...
	$(MAKE) -s images-lint

generate: ## Rewrite golden files and docs/reference with what the code says now; read the diff
	go test ./templates ./kubelet/plan ./kubelet/status ./kubelet/spec ./status -update
	go test ./cmd/boot -run TestReferenceIsCurrent -update
	go test ./config -run "TestPrint|TestMigrate|TestCheck" -update

bench: build images-upstream ## Measure boot beside the bare CRI calls, kubeadm and the kubelet
	BOOT_BIN=$(CURDIR)/bin/boot go test -run '^$$' -bench . -benchtime 1x -count=1 -timeout 40m ./e2e/...

clean: ## Remove what was built here; the cache of components stays
	rm -rf bin engine/bundled/*.zst*
