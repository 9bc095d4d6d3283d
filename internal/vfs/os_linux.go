package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// iovMax is the kernel's limit of slices per pwritev (UIO_MAXIOV).
const iovMax = 1024

// OS is the host's file system.
type OS struct{}

var _ FS = OS{}

func (OS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // os errors carry operation and path
	}
	return newOSFile(f), nil
}

func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // data files are world-readable like Kafka's
	if err != nil {
		return nil, err //nolint:wrapcheck // os errors carry operation and path
	}
	return newOSFile(f), nil
}

func (OS) Remove(name string) error              { return os.Remove(name) }             //nolint:wrapcheck // as above
func (OS) RemoveAll(name string) error           { return os.RemoveAll(name) }          //nolint:wrapcheck // as above
func (OS) Rename(oldName, newName string) error  { return os.Rename(oldName, newName) } //nolint:wrapcheck // as above
func (OS) Link(oldName, newName string) error    { return os.Link(oldName, newName) }   //nolint:wrapcheck // as above
func (OS) MkdirAll(name string) error            { return os.MkdirAll(name, 0o755) }    //nolint:wrapcheck,gosec // as above
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }               //nolint:wrapcheck // as above

func (OS) ReadDir(name string) ([]string, error) {
	es, err := os.ReadDir(name)
	if err != nil {
		return nil, err //nolint:wrapcheck // os errors carry operation and path
	}
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.Name()
	}
	return names, nil
}

func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err //nolint:wrapcheck // os errors carry operation and path
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

func (OS) Lock(name string) (func() error, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // a lock file holds nothing
	if err != nil {
		return nil, err //nolint:wrapcheck // os errors carry operation and path
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", name, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f.Close, nil
}

func (OS) Free(name string) (available, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", name, err)
	}
	bs := uint64(st.Bsize) //nolint:gosec // block sizes are positive
	return st.Bavail * bs, st.Blocks * bs, nil
}

type osFile struct {
	f  *os.File
	fd int
}

func newOSFile(f *os.File) *osFile { return &osFile{f: f, fd: int(f.Fd())} }

func (o *osFile) ReadAt(p []byte, off int64) (int, error)  { return o.f.ReadAt(p, off) }  //nolint:wrapcheck // io contract
func (o *osFile) WriteAt(p []byte, off int64) (int, error) { return o.f.WriteAt(p, off) } //nolint:wrapcheck // io contract

func (o *osFile) WriteVec(v [][]byte, off int64) (int64, error) {
	var total int64
	for len(v) > 0 {
		c := v[:min(len(v), iovMax)]
		var want int64
		for _, b := range c {
			want += int64(len(b))
		}
		n, err := unix.Pwritev(o.fd, c, off)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Pwritev(o.fd, c, off)
		}
		if err != nil {
			return total, &os.PathError{Op: "pwritev", Path: o.f.Name(), Err: err}
		}
		if int64(n) < want {
			m, err := o.writeRest(c, int64(n), off)
			total += int64(n) + m
			if err != nil {
				return total, err
			}
		} else {
			total += want
		}
		off += want
		v = v[len(c):]
	}
	return total, nil
}

// writeRest finishes a vector write that stopped after done bytes.
func (o *osFile) writeRest(c [][]byte, done, off int64) (int64, error) {
	var at, wrote int64
	for _, b := range c {
		end := at + int64(len(b))
		if end > done {
			s := max(done-at, 0)
			n, err := o.f.WriteAt(b[s:], off+at+s)
			wrote += int64(n)
			if err != nil {
				return wrote, err //nolint:wrapcheck // os errors carry operation and path
			}
			if int64(n) < int64(len(b))-s {
				return wrote, io.ErrShortWrite
			}
		}
		at = end
	}
	return wrote, nil
}

func (o *osFile) Sync() error {
	for {
		err := unix.Fdatasync(o.fd)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "fdatasync", Path: o.f.Name(), Err: err}
		}
		return nil
	}
}

func (o *osFile) Truncate(size int64) error { return o.f.Truncate(size) } //nolint:wrapcheck // as above

func (o *osFile) Preallocate(off, length int64) error {
	err := unix.Fallocate(o.fd, unix.FALLOC_FL_KEEP_SIZE, off, length)
	if err == nil || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return &os.PathError{Op: "fallocate", Path: o.f.Name(), Err: err}
}

func (o *osFile) Size() (int64, error) {
	fi, err := o.f.Stat()
	if err != nil {
		return 0, err //nolint:wrapcheck // os errors carry operation and path
	}
	return fi.Size(), nil
}

func (o *osFile) Name() string { return o.f.Name() }
func (o *osFile) Close() error { return o.f.Close() } //nolint:wrapcheck // as above
