package ptytest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo terminal. The program under test gets its file, the
// test types and looks at the screen.
type Terminal struct {
	File *os.File // the program's side

	user *os.File
	wg   sync.WaitGroup

	mu sync.Mutex
	// mu guards:
	screen bytes.Buffer
}

// Open opens a pseudo terminal that does not echo and closes with the test.
func Open(tb testing.TB) *Terminal {
	tb.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		tb.Skipf("no pseudo terminals here: %v", err)
	}
	fd := int(user.Fd()) //nolint:gosec // a file descriptor is small
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		tb.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		tb.Fatal(err)
	}
	file, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	quiet(tb, file)
	t := &Terminal{File: file, user: user}
	t.wg.Go(t.watch)
	tb.Cleanup(func() {
		_ = file.Close()
		_ = user.Close()
		t.wg.Wait()
	})
	return t
}

// quiet turns echo and the translation of newlines off.
func quiet(tb testing.TB, f *os.File) {
	tb.Helper()
	fd := int(f.Fd()) //nolint:gosec // a file descriptor is small
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		tb.Fatal(err)
	}
	mode.Lflag &^= unix.ECHO
	mode.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, mode); err != nil {
		tb.Fatal(err)
	}
}

func (t *Terminal) watch() {
	buf := make([]byte, 4096)
	for {
		n, err := t.user.Read(buf)
		t.mu.Lock()
		t.screen.Write(buf[:n])
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Type types text; \x04 is Ctrl-D.
func (t *Terminal) Type(tb testing.TB, s string) {
	tb.Helper()
	if _, err := t.user.WriteString(s); err != nil {
		tb.Fatal(err)
	}
}

// Screen returns what the program has written.
func (t *Terminal) Screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen.String()
}

// Await waits until the screen shows a text.
func (t *Terminal) Await(tb testing.TB, text string) {
	tb.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(t.Screen(), text) {
		if time.Now().After(deadline) {
			tb.Fatalf("the screen never shows %q:\n%s", text, t.Screen())
		}
		<-time.After(5 * time.Millisecond)
	}
}
