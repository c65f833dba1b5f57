#!/bin/sh
# Prints the directory that `make images-previous` fills, which like that of
# ../dir.sh is named after the digest of all that decides what is in it.
set -eu
cd "$(dirname "$0")"
current=$(../dir.sh)
digest=$({
	basename "$current"
	find . -type f ! -name '*.sh' | LC_ALL=C sort | xargs sha256sum
} | sha256sum)
echo "$(dirname "$current")/previous-$(echo "$digest" | cut -c1-16)"
