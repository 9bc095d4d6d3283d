// Package peers has the script that starts a real Kafka on this machine, so that it can be measured beside.
package peers
