//go:build !unix

package main

import "syscall"

// inBackground has nothing to do here.
func inBackground() *syscall.SysProcAttr { return nil }
