#!/bin/sh
# Runs every fuzz target of the module for the time given (default 10s), one after the other.
set -eu
cd "$(dirname "$0")/.."
for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${1:-10s}" "$package"
	done
done
