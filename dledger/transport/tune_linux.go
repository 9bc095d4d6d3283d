package transport

import (
	"net"
	"syscall"
)

// tcpUserTimeout is TCP_USER_TIMEOUT: bytes that nobody acknowledges for so long break the connection, and another is
// opened. Without it a connection goes on probing ever more seldom after a cut, long after the network is whole.
const (
	tcpUserTimeout  = 18
	unackedForMilli = 2000
)

func setUserTimeout(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, unackedForMilli)
	})
}
