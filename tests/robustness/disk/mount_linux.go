package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Mount mounts the disk at a directory, until unmount is called. It needs the right to mount.
func (d *Disk) Mount(at string) (unmount func() error, err error) {
	inner, err := fs.NewLoopbackRoot(d.root)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	loopback, ok := inner.(*fs.LoopbackNode)
	if !ok {
		return nil, fmt.Errorf("disk: the root is a %T", inner)
	}
	root := &node{LoopbackNode: loopback, disk: d}
	loopback.RootData.RootNode = root
	server, err := fs.Mount(at, root, &fs.Options{ // without caches: what is lost must be gone
		MountOptions: fuse.MountOptions{DirectMount: true, DirectMountStrict: true, FsName: "stele-robustness", DisableXAttrs: true, MaxWrite: 512 << 10},
	})
	if err != nil {
		return nil, fmt.Errorf("disk: mount: %w", err)
	}
	return server.Unmount, nil
}

// node is a file or directory.
type node struct {
	*fs.LoopbackNode
	disk *Disk
}

var (
	_ = fs.NodeWrapChilder((*node)(nil))
	_ = fs.NodeCreater((*node)(nil))
	_ = fs.NodeOpener((*node)(nil))
	_ = fs.NodeUnlinker((*node)(nil))
	_ = fs.NodeRmdirer((*node)(nil))
	_ = fs.NodeMkdirer((*node)(nil))
	_ = fs.NodeRenamer((*node)(nil))
	_ = fs.NodeLinker((*node)(nil))
	_ = fs.NodeOpendirHandler((*node)(nil))
	_ = fs.FileFsyncdirer((*directory)(nil))
	_ = fs.NodeSetattrer((*node)(nil))
)

// WrapChild makes every node one of ours.
func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	if child, ok := ops.(*fs.LoopbackNode); ok {
		return &node{LoopbackNode: child, disk: n.disk}
	}
	return ops
}

// path is where the node lies below the mount.
func (n *node) path() string { return filepath.Join(n.disk.root, n.Path(n.Root())) }

func (n *node) child(name string) string { return filepath.Join(n.path(), name) }

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	path := n.child(name)
	_, before := os.Lstat(path)
	if flags&syscall.O_TRUNC != 0 && before == nil {
		// The kernel creates only what it has not found.
		return nil, nil, 0, syscall.EEXIST
	}
	inode, inner, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	if before != nil {
		n.disk.created(path)
	}
	return inode, n.handle(inner, out.Ino, inode), fuse.FOPEN_DIRECT_IO, 0
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	path := n.path()
	if flags&syscall.O_TRUNC != 0 {
		if err := n.truncate(path, 0, func() error { return os.Truncate(path, 0) }); err != nil {
			return nil, 0, fs.ToErrno(err)
		}
	}
	inner, _, errno := n.LoopbackNode.Open(ctx, flags&^syscall.O_TRUNC)
	if errno != 0 {
		return nil, 0, errno
	}
	ino, err := inodeOf(path)
	if err != nil {
		return nil, 0, fs.ToErrno(err)
	}
	return n.handle(inner, ino, n.EmbeddedInode()), fuse.FOPEN_DIRECT_IO, 0
}

func inodeOf(path string) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

func (n *node) truncate(path string, size int64, do func() error) error {
	ino, err := inodeOf(path)
	if err != nil {
		return err
	}
	return n.disk.truncate(path, ino, size, do)
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	inner := f
	if h, ok := f.(*handle); ok {
		inner = h.LoopbackFile
	}
	size, ok := in.GetSize()
	if !ok {
		return n.LoopbackNode.Setattr(ctx, inner, in, out)
	}
	var errno syscall.Errno
	err := n.truncate(n.path(), int64(size), func() error {
		errno = n.LoopbackNode.Setattr(ctx, inner, in, out)
		return nil
	})
	return errnoOf(err, errno)
}

// errnoOf is the errno of err, or else errno.
func errnoOf(err error, errno syscall.Errno) syscall.Errno {
	if err != nil {
		return fs.ToErrno(err)
	}
	return errno
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return fs.ToErrno(n.disk.remove(n.child(name), func() error { return asError(n.LoopbackNode.Unlink(ctx, name)) }))
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	path := n.child(name)
	if errno := n.LoopbackNode.Rmdir(ctx, name); errno != 0 {
		return errno
	}
	n.disk.ops = append(n.disk.ops, operation{dirs: []string{filepath.Dir(path)}, undo: func() error { return os.Mkdir(path, 0o755) }})
	return 0
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	inode, errno := n.LoopbackNode.Mkdir(ctx, name, mode, out)
	if errno == 0 {
		n.disk.created(n.child(name))
	}
	return inode, errno
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := parent.(*node)
	if !ok || flags&^unix.RENAME_NOREPLACE != 0 {
		return syscall.EXDEV
	}
	return fs.ToErrno(n.disk.rename(n.child(name), to.child(newName), func() error {
		return asError(n.LoopbackNode.Rename(ctx, name, to.LoopbackNode, newName, flags))
	}))
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	from, ok := target.(*node)
	if !ok {
		return nil, syscall.EXDEV
	}
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	inode, errno := n.LoopbackNode.Link(ctx, from.LoopbackNode, name, out)
	if errno == 0 {
		n.disk.created(n.child(name))
	}
	return inode, errno
}

// dirStream is what the loopback gives for an open directory.
type dirStream interface {
	fs.FileReaddirenter
	fs.FileReleasedirer
	fs.FileSeekdirer
}

// directory is an open directory.
type directory struct {
	dirStream
	node *node
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	inner, fuseFlags, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if stream, ok := inner.(dirStream); ok && errno == 0 {
		return &directory{stream, n}, fuseFlags, 0
	}
	return inner, fuseFlags, errno
}

func (d *directory) Fsyncdir(context.Context, uint32) syscall.Errno {
	return fs.ToErrno(d.node.disk.syncDir(d.node.path()))
}

func asError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// handle is an open file.
type handle struct {
	*fs.LoopbackFile
	disk  *Disk
	inode *fs.Inode
	ino   uint64
}

var (
	_ = fs.FileReader((*handle)(nil))
	_ = fs.FileWriter((*handle)(nil))
	_ = fs.FileFsyncer((*handle)(nil))
	_ = fs.FilePassthroughFder((*handle)(nil))
	_ = fs.FileFlusher((*handle)(nil))
	_ = fs.FileAllocater((*handle)(nil))
)

func (n *node) handle(inner fs.FileHandle, ino uint64, inode *fs.Inode) fs.FileHandle {
	file, ok := inner.(*fs.LoopbackFile)
	if !ok {
		return inner
	}
	return &handle{file, n.disk, inode, ino}
}

// path is where the file is now. One without a name is written by a path that is not there, and fails.
func (h *handle) path() string { return filepath.Join(h.disk.root, h.inode.Path(h.inode.Root())) }

func (h *handle) Read(ctx context.Context, buf []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if h.disk.unreadable(h.path()) {
		return nil, syscall.EIO
	}
	return h.LoopbackFile.Read(ctx, buf, off)
}

func (h *handle) Write(ctx context.Context, data []byte, off int64) (n uint32, errno syscall.Errno) {
	err := h.disk.write(h.path(), h.ino, off, off+int64(len(data)), func() error {
		n, errno = h.LoopbackFile.Write(ctx, data, off)
		return nil
	})
	if errors.Is(err, os.ErrNotExist) { // deleted, and still open: nothing of it survives
		return h.LoopbackFile.Write(ctx, data, off)
	}
	return n, errnoOf(err, errno)
}

func (h *handle) Fsync(context.Context, uint32) syscall.Errno { return fs.ToErrno(h.disk.sync(h.ino)) }

// PassthroughFd keeps the kernel from writing past us.
func (h *handle) PassthroughFd() (int, bool) { return 0, false }

func (h *handle) Flush(context.Context) syscall.Errno { return 0 }

// Allocate allows only what changes no byte that can be read.
func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if mode != unix.FALLOC_FL_KEEP_SIZE {
		return syscall.EOPNOTSUPP
	}
	return h.LoopbackFile.Allocate(ctx, off, size, mode)
}
