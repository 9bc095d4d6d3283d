// Package vfs is the file system as Stele needs it: positioned vector writes, data syncs,
// preallocation and directory syncs. Everything that must survive power loss goes through it, so
// that tests can lose unsynced bytes ([Mem]) or fail the n-th call ([ErrFS]).
package vfs
