// Package rig runs a cluster of broker processes and does to them what happens to machines: it kills, stops and
// restarts them, takes their disks away, and cuts the network between them.
//
// Each broker has a network namespace of its own, with one interface on a bridge. The bridge lies in the namespace
// of the tests, into which [Main] puts the test binary before it runs: clients are on the bridge as well, reach
// every broker, and can be cut off like them. All namespaces are nameless, and so are the mounts: they end with the
// processes in them, whatever happens to the tests, and two runs on one machine do not meet.
//
// A cut is a wrong hardware address in the sender's neighbour table: packets of one direction vanish without an
// error, as in a network that is cut somewhere else. Links can be taken down besides.
//
// Without the right to make namespaces (root, or user namespaces), or without the command ip, brokers run on
// 127.x.y.z and cuts are not possible: tests of them are skipped, and fail with CI=true.
//
// [New] makes directories named stele-robustness-PID-… in the folder for temporary files; they are removed unless
// the test failed, and those of runs that died with the next run.
package rig
