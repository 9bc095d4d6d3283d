#!/usr/bin/env bash
# Installs the foreign clients of these tests. Quick when everything is there; prints what it cannot do.
#
#   kcat               by apt-get, on Debian and Ubuntu as root
#   Python clients     pinned by clients/python/requirements.txt, into .cache/compat/venv
#   kafkajs            pinned by clients/kafkajs/package-lock.json, into .cache/compat/kafkajs; node and npm are the
#                      packages nodejs and npm of Debian (NodeSource's nodejs brings its own npm)
#   rsyslog            by apt-get, with rsyslog-kafka
#   Kafka's own tools  by Maven, through bench/peers/kafka.sh
#
# Go's clients are pinned by go.mod and need nothing.
set -uo pipefail
export DEBIAN_FRONTEND=noninteractive
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
cache=$repo/.cache/compat
mkdir -p "$cache"
failed=0

complain() { echo "install.sh: $*" >&2; failed=1; }

# quiet COMMAND...: its output is shown only if it fails.
quiet() {
  local out
  out=$("$@" 2>&1) || { printf '%s\n' "$out" | tail -20 >&2; return 1; }
}

updated=

# packages COMMAND PACKAGE...: installs Debian packages if the command is missing.
packages() {
  command -v "$1" >/dev/null || install_packages "$@"
}

# install_packages WHAT PACKAGE...: installs Debian packages, or says that WHAT needs them.
install_packages() {
  local what=$1
  shift
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # A fresh machine has no package lists, or old ones whose packages are gone.
    [ -n "$updated" ] || quiet apt-get update -q || true
    updated=yes
    quiet apt-get install -y -q --no-install-recommends "$@" && return
  fi
  complain "$what is missing: install $* (Debian: apt-get install $*)"
  return 1
}

# fresh STAMP FILE...: whether the stamp was made from these very files.
fresh() {
  local stamp=$1
  shift
  [ -f "$stamp" ] && cat "$@" | cmp -s - "$stamp"
}

install_python() {
  local pins=$here/clients/python/requirements.txt stamp=$cache/venv/installed
  fresh "$stamp" "$pins" && return
  packages python3 python3 python3-venv || return
  rm -rf "$cache/venv"
  quiet python3 -m venv "$cache/venv" || { install_packages "the module venv of python3" python3-venv && quiet python3 -m venv "$cache/venv"; } || return
  quiet "$cache/venv/bin/pip" install -q --disable-pip-version-check -r "$pins" || return
  cat "$pins" >"$stamp"
}

install_kafkajs() {
  local js=$here/clients/kafkajs stamp=$cache/kafkajs/installed
  fresh "$stamp" "$js/package.json" "$js/package-lock.json" && return
  packages node nodejs && packages npm npm || return
  rm -rf "$cache/kafkajs"
  mkdir -p "$cache/kafkajs"
  cp "$js/package.json" "$js/package-lock.json" "$cache/kafkajs/"
  (cd "$cache/kafkajs" && quiet npm ci --omit=dev --no-audit --no-fund --ignore-scripts) || return
  cat "$js/package.json" "$js/package-lock.json" >"$stamp"
}

install_rsyslog() {
  packages rsyslogd rsyslog rsyslog-kafka || return
  ls /usr/lib*/rsyslog/omkafka.so /usr/lib*/*/rsyslog/omkafka.so 2>/dev/null | grep -q . || install_packages "omkafka" rsyslog-kafka
}

install_java() {
  # The compiler, too: the test of Kafka Streams is a program of our own.
  packages javac default-jdk-headless || return
  ls "${PEERS_DIR:-$HOME/.cache/stele-peers}"/jars/kafka-tools-*.jar >/dev/null 2>&1 && return
  packages mvn maven && packages unzip unzip || return
  quiet bash "$repo/bench/peers/kafka.sh" tool DumpLogSegments --version
}

packages kcat kcat || failed=1
install_rsyslog || complain "rsyslog could not be installed"
install_python || complain "the Python clients could not be installed"
install_kafkajs || complain "kafkajs could not be installed"
install_java || complain "Kafka's own tools could not be installed"
exit "$failed"
