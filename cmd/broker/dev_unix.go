//go:build unix

package main

import "syscall"

// inBackground gives a process a session of its own: neither Ctrl-C nor the end of the terminal reaches it.
func inBackground() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
