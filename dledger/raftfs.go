package dledger

import (
	lnivfs "github.com/lni/vfs"
)

// raftFS is the file system that dragonboat's own files are on: flag files, the metadata group's log and snapshots. Its
// new files hide that they are the operating system's, because tan would reserve 64 MiB for each log.
type raftFS struct{ lnivfs.FS }

// raftFile hides the concrete type of a file.
type raftFile struct{ lnivfs.File }

func newRaftFS() raftFS { return raftFS{lnivfs.Default} }

func (r raftFS) Create(name string) (lnivfs.File, error) {
	f, err := r.FS.Create(name)
	if err != nil {
		return nil, err //nolint:wrapcheck // dragonboat looks at its errors
	}
	return raftFile{f}, nil
}

func (r raftFS) ReuseForWrite(oldName, newName string) (lnivfs.File, error) {
	f, err := r.FS.ReuseForWrite(oldName, newName)
	if err != nil {
		return nil, err //nolint:wrapcheck // dragonboat looks at its errors
	}
	return raftFile{f}, nil
}
