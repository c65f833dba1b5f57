#!/bin/sh
# Runs the command of ../main.go on a copy of its source in which the versions
# and modules here take the place of the current ones: what both minors share
# is found in the cache and not built again.
#
#	images.sh build [FLAGS]
#	images.sh pin            also takes over what it wrote into the modules
set -eu
here=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
(cd "$here/.." && tar -c --exclude=./previous .) | tar -x -C "$copy"
cd "$copy"
cat "$here/versions.env" >>versions.env # of two lines for a version, the later counts
for dir in kubernetes etcd; do
	cp "$here/$dir"/go.* "$dir/"
done
# The time that is stamped stays that of the current minor, so that what is the
# same in both is the same to the byte.
go run . "$@"
if [ "$1" = pin ]; then
	for dir in kubernetes etcd; do
		cp "$dir"/go.* "$here/$dir/"
	done
fi
