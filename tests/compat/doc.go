// Package compat tries foreign Kafka clients on a running broker: what one client writes with each codec the
// others must read byte for byte, and what goes wrong must look to a client as it looks with Apache Kafka.
//
// It is a module of its own, so that the clients do not become dependencies of the product. The package has
// no code besides its tests.
//
// Without settings the tests build ./cmd/broker of this repository and start it on a free port of 127.0.0.1.
// They run as well against any other broker, Apache Kafka above all, which is the reference for every
// expectation written here:
//
//	STELE_COMPAT_BOOTSTRAP=127.0.0.1:23092   the broker to use
//	STELE_COMPAT_DATA=DIR                    its data directory, if its files may be read
//	STELE_COMPAT_CRASH=COMMAND               a shell command that kills it with -9 and starts it again on its data
//
// Clients that are not installed are skipped with what to do about it; with CI=true that is a failure.
// install.sh beside this file installs them all.
package compat
