package raftfile

import "errors"

// Errors of files, to be found by errors.Is.
var (
	// ErrCorrupt: stored bytes do not match their checksum; they are never served.
	ErrCorrupt = errors.New("dledger: stored data is corrupt")
	// ErrUnsupportedVersion: files were written by a newer version of this software.
	ErrUnsupportedVersion = errors.New("dledger: unsupported format version")
)
