// Package robustness tries real broker processes: it kills them with -9 under load and lets package history judge
// what clients saw. The scenarios are tests with the build tag robustness:
//
//	go test -tags robustness -v ./tests/robustness -rounds 200 -seed 7
//
// Without -rounds there are 30 rounds with -short, else 200. A failure keeps the seed, history.jsonl, the broker's
// log and its data directory, and prints where. The history and workload packages below have tests of their own,
// without the tag.
//
// The scenarios run as well against a foreign broker, which shows that they ask for what Kafka gives:
//
//	STELE_ROBUSTNESS_BOOTSTRAP=127.0.0.1:23092   where it listens, below the ports of clients
//	STELE_ROBUSTNESS_KILL=COMMAND                kills it with -9
//	STELE_ROBUSTNESS_RESTART=COMMAND             starts it again on its data
//	STELE_ROBUSTNESS_DATA=DIR                    its data, for the control that puts a stale copy back
package robustness
