// Package robustness tries real broker processes: it kills, stops and restarts them, cuts their network and spoils
// their disks under load, and lets package history judge what clients saw, package replicas what is on the disks. The
// scenarios are tests with the build tag robustness:
//
//	go test -tags robustness -v -timeout 0 ./tests/robustness -run TestR1 -rounds 20 -seed 7
//
// Each scenario has its own count of faults; -short is a short form of each, -scale a share of the count, -rounds
// the count itself. A failure keeps the seed, the histories, the brokers' output and their data, and prints where. The
// packages below have tests of their own, without the tag.
//
// Package rig says what the machine must allow: as root on Linux with the command ip everything is tried; without
// namespaces the scenarios that cut the network are skipped, and fail with CI=true.
//
// With STELE_ROBUSTNESS_FIGURES=FILE each scenario adds its row of the table in docs/reliability.md to the file.
//
// The scenarios of one broker run as well against a foreign one, which shows that they ask for what Kafka gives:
//
//	STELE_ROBUSTNESS_BOOTSTRAP=127.0.0.1:23092   where it listens, below the ports of clients
//	STELE_ROBUSTNESS_KILL=COMMAND                kills it with -9
//	STELE_ROBUSTNESS_RESTART=COMMAND             starts it again on its data
//	STELE_ROBUSTNESS_DATA=DIR                    its data, for the control that puts a stale copy back
package robustness
