#!/bin/sh
# Prints the directory that `make images` fills: it is named after the digest of
# all that decides what is built, and so is complete or not, but never stale.
# builder's record.go draws the same line between files that decide and others.
set -eu
cd "$(dirname "$0")"
digest=$({
	go env GOVERSION GOARCH
	find . -type f ! -path './conformance/*' ! -path './debian/*' ! -path './previous/*' \( -name '*.go' ! -name '*_test.go' -o -name '*.mod' -o -name '*.sum' -o -name '*.env' -o -name '*.c' \) |
		LC_ALL=C sort | xargs sha256sum
} | sha256sum)
echo "${BOOT_CACHE:-$HOME/.cache/boot}/$(echo "$digest" | cut -c1-16)"
