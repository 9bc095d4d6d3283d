#!/usr/bin/env bash
# The short form of every fault scenario: two processes beside each other, each in namespaces of its own.
# Usage: tools/robustness-short.sh [flags of the tests]
set -uo pipefail
cd "$(dirname "$0")/.."
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
go test -tags robustness -c -o "$made/robustness" ./tests/robustness || exit 1
cd tests/robustness || exit 1
first='^Test(V0|R15|R25|R26)'
run() { "$made/robustness" -test.short -test.v -test.timeout 15m "$@"; }
run -test.run "$first" "$@" >"$made/first" 2>&1 &
run -test.skip "$first" "$@"
second=$?
wait $!
code=$?
cat "$made/first"
[ $code = 0 ] && [ $second = 0 ]
