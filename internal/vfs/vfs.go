package vfs

import (
	"errors"
	"io/fs"
)

// ErrLocked is returned by [FS.Lock] when another process holds the lock.
var ErrLocked = errors.New("vfs: locked by another process")

// FS is a file system. Paths are slash-separated host paths. All methods are safe for concurrent
// use. Errors satisfy errors.Is with fs.ErrNotExist and fs.ErrExist where they apply.
type FS interface {
	// Open opens name for reading and writing; it fails with fs.ErrNotExist if it is absent.
	Open(name string) (File, error)
	// Create opens name for reading and writing, creating it empty or truncating it to zero. The
	// name is durable only after SyncDir of its directory.
	Create(name string) (File, error)
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// RemoveAll deletes a tree; a missing one is no error.
	RemoveAll(name string) error
	// Rename replaces newName by oldName atomically; durable after SyncDir of both directories.
	Rename(oldName, newName string) error
	// Link makes newName a hard link of oldName; durable after SyncDir.
	Link(oldName, newName string) error
	// MkdirAll creates a directory and its parents.
	MkdirAll(name string) error
	// ReadDir returns the names in a directory, sorted.
	ReadDir(name string) ([]string, error)
	// Stat describes a file.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock takes an exclusive advisory lock on name (created if absent) and holds it until the
	// returned function is called. Errors: ErrLocked.
	Lock(name string) (unlock func() error, err error)
	// Free returns the bytes available to this process and the total bytes of the file system
	// that holds name.
	Free(name string) (available, total uint64, err error)
}

// File is an open file. Positioned reads and writes may run concurrently with each other.
type File interface {
	// ReadAt as io.ReaderAt.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt as io.WriterAt.
	WriteAt(p []byte, off int64) (int, error)
	// WriteVec writes the slices one after the other at off, as one call where the system allows
	// it. It does not keep or modify them. The written length is short only with an error.
	WriteVec(v [][]byte, off int64) (int64, error)
	// Sync makes the file's bytes and its size durable (fdatasync). After an error the page cache
	// proves nothing: callers must not retry.
	Sync() error
	// Truncate sets the file's size.
	Truncate(size int64) error
	// Preallocate reserves blocks for [off, off+length) without changing the size (FALLOC_FL_KEEP_SIZE).
	// Where the file system cannot, it does nothing.
	Preallocate(off, length int64) error
	// Size returns the file's size in bytes.
	Size() (int64, error)
	Name() string
	Close() error
}
