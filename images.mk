# The real components, built from pinned Go modules: see images/README.md.

.PHONY: images images-upstream images-previous images-previous-pin images-conformance images-dir images-deps images-lint images-pin images-prune

# What building needs beside Go: a file or command, and the package it is in.
IMAGES_DEPS := gcc:gcc pkg-config:pkg-config /usr/lib/*/libc.a:libc6-dev /usr/lib/*/libseccomp.a:libseccomp-dev

images: ## Build the component images, the engine and kubectl, unless the cache has them
	@dir=$$(images/dir.sh); test -f "$$dir/SHA256SUMS" || { \
		$(MAKE) --no-print-directory images-deps && cd images && go run . build -dir "$$dir"; }

images-upstream: ## Also build the upstream kubeadm and kubelet, to compare with
	@dir=$$(images/dir.sh); test -f "$$dir/bin/kubelet" || { \
		$(MAKE) --no-print-directory images-deps && cd images && go run . build -dir "$$dir" -upstream; }

images-previous: images ## Also build the components of the minor before, to upgrade from
	@dir=$$(images/previous/dir.sh); test -f "$$dir/SHA256SUMS" || images/previous/images.sh build -dir "$$dir"

images-conformance: images ## Also build upstream's end-to-end tests and the images of their pods
	@dir=$$(images/conformance/dir.sh); test -f "$$dir/READY" || { \
		. images/versions.env; components=$$(images/dir.sh); \
		cd images && go run ./conformance -src conformance -dir "$$dir" -images "$$components/images" \
			-kubernetes "$$KUBERNETES" -epoch "$$SOURCE_DATE_EPOCH"; }

images-dir: ## Print the directory that holds what `make images` built
	@images/dir.sh

images-deps: ## Install what building the images needs, if it is missing
	@missing=; for dep in $(IMAGES_DEPS); do \
		have=$${dep%%:*}; \
		command -v "$$have" >/dev/null || ls $$have >/dev/null 2>&1 || missing="$$missing $${dep##*:}"; \
	done; \
	test -z "$$missing" || { \
		test "$$(id -u)" = 0 || { echo "install as root:$$missing"; exit 1; }; \
		echo "installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

images-lint: ## Run the linters on images/, which is a module of its own
	cd images/conformance/programs && go vet ./...
	cd images && go vet ./... && go run $(GOLANGCI_LINT) run --allow-parallel-runners -c ../.golangci.yml ./...

images-pin: ## Write the versions of images/versions.env into the modules that build the components
	cd images && go run . pin -src .

images-previous-pin: ## Write the versions of images/previous/versions.env into the modules there
	images/previous/images.sh pin

images-prune: ## Remove from the cache what other versions of images/ built
	@dir=$$(images/dir.sh); find "$$(dirname "$$dir")" -mindepth 1 -maxdepth 1 -type d ! -path "$$dir" \
		! -path "$$(images/conformance/dir.sh)" ! -path "$$(images/previous/dir.sh)" ! -name 'vm-*' -exec rm -rf {} +
