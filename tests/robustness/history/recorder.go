package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Recorder collects the operations of concurrent clients. All methods may be called concurrently.
type Recorder struct {
	began time.Time

	mu sync.Mutex
	// mu guards:
	ops []Op
	out *bufio.Writer
	err error
}

// NewRecorder returns a recorder that also writes each operation to w as a line of JSON.
func NewRecorder(w io.Writer) *Recorder {
	return &Recorder{began: time.Now(), out: bufio.NewWriterSize(w, 1<<20)}
}

// Now is the time of the history, for Op.Start and Op.End.
func (r *Recorder) Now() int64 { return time.Since(r.began).Nanoseconds() }

// Record adds a completed operation; its End is now. The recorder keeps the slices of op.
func (r *Recorder) Record(op Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	op.End = r.Now()
	r.ops = append(r.ops, op)
	line, err := json.Marshal(op)
	if err == nil {
		_, err = r.out.Write(append(line, '\n'))
	}
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("record history: %w", err)
	}
}

// Finish writes what is still buffered and returns the history, in the order of completion.
func (r *Recorder) Finish() ([]Op, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.out.Flush(); err != nil && r.err == nil {
		r.err = fmt.Errorf("record history: %w", err)
	}
	return r.ops, r.err
}

// Read reads a history that a Recorder wrote.
func Read(r io.Reader) ([]Op, error) {
	var ops []Op
	dec := json.NewDecoder(bufio.NewReader(r))
	for {
		var op Op
		switch err := dec.Decode(&op); {
		case err == io.EOF: //nolint:errorlint // Decode returns it bare
			return ops, nil
		case err != nil:
			return nil, fmt.Errorf("operation %d: %w", len(ops)+1, err)
		}
		ops = append(ops, op)
	}
}
