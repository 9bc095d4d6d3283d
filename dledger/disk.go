package dledger

// Disk is the log directory with the bytes that are free on its disk for this process, and the disk's size.
func (h *Host) Disk() (dir string, free, total int64, err error) {
	f, t, err := h.opts.FS.Free(h.opts.Dir)
	return h.opts.Dir, int64(f), int64(t), err //nolint:wrapcheck,gosec // names operation and path
}
