package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/stelemq/stele/bench/load"
	"github.com/stelemq/stele/bench/machine"
)

// formatVersion grows when a field of the JSON changes its meaning.
const formatVersion = 1

// File is all that one invocation measured. It is the JSON.
type File struct {
	Version int           `json:"version"`
	Title   string        `json:"title"`
	At      time.Time     `json:"at"`
	Command string        `json:"command"`
	Machine machine.Facts `json:"machine"`
	// Systems are the names of what was measured, the first one is compared with the others.
	Systems []string `json:"systems"`
	// Notes say what a reader must know: versions, settings.
	Notes []string `json:"notes,omitempty"`
	Cells []Cell   `json:"cells"`
}

// Cell is a scenario on one system, over all rounds.
type Cell struct {
	Name   string `json:"name"`
	System string `json:"system"`
	// Runs are those of a load; Values are those of anything else (a start, a failover), by the name of the figure.
	Runs   []load.Result        `json:"runs,omitempty"`
	Values map[string][]float64 `json:"values,omitempty"`
	// Repeated is the number of rounds that were measured again, because the disk changed meanwhile.
	Repeated int `json:"repeated,omitempty"`
	// Failed says why a round could not be measured.
	Failed []string `json:"failed,omitempty"`
}

// NewFile begins one.
func NewFile(title, command string, facts machine.Facts, systems ...string) *File {
	return &File{Version: formatVersion, Title: title, At: time.Now().UTC(), Command: command, Machine: facts, Systems: systems}
}

// Cell finds or makes the cell of a scenario on a system. The pointer is good until the next cell is made.
func (f *File) Cell(name, system string) *Cell {
	if i := slices.IndexFunc(f.Cells, func(c Cell) bool { return c.Name == name && c.System == system }); i >= 0 {
		return &f.Cells[i]
	}
	f.Cells = append(f.Cells, Cell{Name: name, System: system})
	return &f.Cells[len(f.Cells)-1]
}

// Names of the scenarios, in the order in which they were measured.
func (f *File) Names() []string {
	var names []string
	for i := range f.Cells {
		if !slices.Contains(names, f.Cells[i].Name) {
			names = append(names, f.Cells[i].Name)
		}
	}
	return names
}

// Add puts a value to a figure of the cell.
func (c *Cell) Add(figure string, v float64) {
	if c.Values == nil {
		c.Values = make(map[string][]float64)
	}
	c.Values[figure] = append(c.Values[figure], v)
}

// Write writes the file as JSON.
func (f *File) Write(path string) error {
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return fmt.Errorf("encode the results: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec,wrapcheck // results are not secret; the error names the path
}

// Read reads a file of Write's.
func Read(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // says operation and path
	}
	f := new(File)
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("%s: not results of a benchmark: %w", path, err)
	}
	if f.Version != formatVersion {
		return nil, fmt.Errorf("%s: results of format %d, and this program reads %d", path, f.Version, formatVersion)
	}
	return f, nil
}
