// Command broker runs a broker and administers brokers.
//
// Without arguments it is a development broker on loopback that keeps its data in ./data; `broker start` runs
// one as its settings say. The other commands talk to a running broker by Kafka's protocol (topic, cluster),
// or read files without one (config, log). `broker --help` lists them.
//
// Standard output carries data, standard error talk. Exit codes: 0 done, 1 failed, 2 usage or settings, 10 the
// answer is bad news (a finding), 130 interrupted.
package main
