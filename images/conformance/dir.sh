#!/bin/sh
# Prints the directory that `make images-conformance` fills, which like that of
# ../dir.sh is named after the digest of all that decides what is in it.
set -eu
cd "$(dirname "$0")/.."
digest=$({
	go env GOVERSION GOARCH
	grep -E '^(KUBERNETES|PAUSE_IMAGE|SOURCE_DATE_EPOCH)=' versions.env
	find conformance debian pack pause -type f ! -name '*_test.go' ! -name '*.sh' |
		LC_ALL=C sort | xargs sha256sum
} | sha256sum)
echo "${BOOT_CACHE:-$HOME/.cache/boot}/conformance-$(echo "$digest" | cut -c1-16)"
