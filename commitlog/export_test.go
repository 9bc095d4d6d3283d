package commitlog

// Cuts grows when readers must look again.
func (l *Log) Cuts() uint64 { return l.cuts.Load() }
