//go:build !linux

package transport

import "net"

func setUserTimeout(*net.TCPConn) {}
