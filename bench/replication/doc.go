// Command replication measures dledger alone, without the client protocol: a group of processes on loopback, each with a
// replica of every partition, and a closed loop of batches in each process on the partitions that it leads.
//
//	go run ./bench/replication -partitions 8 -bytes 1024,16384,131072,1048576 -duration 3s [-durable]
//	go run ./bench/replication -partitions 1 -kills 20     # time from SIGKILL of the leader to the next commit elsewhere
//	go run ./bench/replication -partitions 1000 -restart   # time from start to leaders, after SIGKILL of all
//	go run ./bench/replication -partitions 1000 -idle 20s  # CPU and memory of each process at rest
package main
