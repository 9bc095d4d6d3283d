//go:build !linux

package machine

import "os"

func dataSync(f *os.File) error { return f.Sync() } //nolint:wrapcheck // the caller does

// Settle does nothing here.
func Settle() {}
