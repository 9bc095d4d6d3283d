// Package brokertest runs a broker on a loopback port for the tests of other packages.
package brokertest
