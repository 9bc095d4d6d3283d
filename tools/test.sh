#!/bin/sh
# Everything that must pass, in the order of what fails fastest. `make test` and continuous integration run it.
#
# It needs Go and, for the race detector, a C compiler; the foreign clients are installed by
# tests/compat/install.sh. On Debian as root missing packages come by apt-get, otherwise this says what to
# install. With CI=true a missing foreign client is a failure, else its tests are skipped.
set -eu
export DEBIAN_FRONTEND=noninteractive
cd "$(dirname "$0")/.."

began=$(date +%s)

step() {
	now=$(date +%s)
	printf '\n== %4ds  %s\n' "$((now - began))" "$1"
}

updated=

# need COMMAND PACKAGE...: installs packages where that is possible, or says what to install and ends.
need() {
	command -v "$1" >/dev/null 2>&1 && return 0
	missing=$1
	shift
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		# A fresh machine has no package lists, or old ones whose packages are gone.
		[ -n "$updated" ] || apt-get update -q >/dev/null || true
		updated=yes
		apt-get install -y -q --no-install-recommends "$@" >/dev/null || true
		command -v "$missing" >/dev/null 2>&1 && return 0
	fi
	echo "make test needs $missing. Install it (on Debian: apt-get install $*) and try again." >&2
	exit 1
}

if ! command -v go >/dev/null 2>&1; then
	echo "make test needs Go 1.26 or newer: https://go.dev/dl/" >&2
	exit 1
fi
need cc gcc libc6-dev

step "build, static"
make -s build

step "vet and lint"
make -s lint

step "install foreign clients"
if ! tests/compat/install.sh; then
	[ "${CI:-}" != true ] || exit 1
	echo "Tests of the clients that are missing are skipped; with CI=true they would fail."
fi

step "tests with the race detector and invariants"
make -s unit

step "foreign clients"
make -s compat

if [ -d tests/robustness ]; then
	step "faults on real brokers"
	make -s robustness-short
fi

step "all passed"
