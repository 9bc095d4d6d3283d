package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// DevDir is where `broker dev` keeps its brokers unless told otherwise.
const DevDir = "data-dev"

const (
	devFile        = "dev.json"
	devFileVersion = 1
	// brokersVariable names brokers to begin with, for all commands of a shell.
	brokersVariable = "STELE_BROKERS"
)

// DevNode is one broker of a development cluster.
type DevNode struct {
	ID int `json:"node"`
	// PID of the process, 0 if it was stopped.
	PID int `json:"pid,omitempty"`
	// Kafka, Raft and HTTP are its addresses, host:port.
	Kafka string `json:"kafka"`
	Raft  string `json:"raft"`
	HTTP  string `json:"http"`
}

// Running reports whether the process is there.
func (n DevNode) Running() bool {
	if n.PID <= 0 {
		return false
	}
	p, err := os.FindProcess(n.PID)
	if err != nil || p.Signal(syscall.Signal(0)) != nil {
		return false
	}
	// The id may have been taken by another process since; and one that has ended but is not waited for has no command.
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n.PID))
	return err != nil || strings.Contains(string(command), n.Raft)
}

// DevCluster is what `broker dev` has started, as its directory keeps it.
type DevCluster struct {
	Version int       `json:"version"`
	Nodes   []DevNode `json:"nodes"`
}

// Bootstrap are the brokers' addresses for clients, separated by commas.
func (d *DevCluster) Bootstrap() string {
	addresses := make([]string, 0, len(d.Nodes))
	for _, n := range d.Nodes {
		addresses = append(addresses, n.Kafka)
	}
	return strings.Join(addresses, ",")
}

// Running counts the brokers whose process is there.
func (d *DevCluster) Running() int {
	n := 0
	for _, node := range d.Nodes {
		if node.Running() {
			n++
		}
	}
	return n
}

// ReadDevCluster reads what Write wrote. Errors: fs.ErrNotExist.
func ReadDevCluster(dir string) (*DevCluster, error) {
	path := filepath.Join(dir, devFile)
	text, err := os.ReadFile(path) //nolint:gosec // the user names the directory
	if err != nil {
		return nil, err //nolint:wrapcheck // says operation and path
	}
	var d DevCluster
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if d.Version > devFileVersion {
		return nil, fmt.Errorf("%s: version %d was written by a newer program", path, d.Version)
	}
	return &d, nil
}

// Write keeps the cluster in its directory.
func (d *DevCluster) Write(dir string) error {
	d.Version = devFileVersion
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", devFile, err)
	}
	path := filepath.Join(dir, devFile)
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o600); err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	return os.Rename(path+".tmp", path) //nolint:wrapcheck // says operation and paths
}

// RemoveDevCluster forgets the cluster.
func RemoveDevCluster(dir string) error {
	return os.Remove(filepath.Join(dir, devFile)) //nolint:wrapcheck // says operation and path
}

// DefaultBrokers is where commands look for brokers that are not named: STELE_BROKERS, else the cluster that `broker dev`
// has started from this folder and that runs, else DefaultBootstrap.
func DefaultBrokers() string {
	if v := os.Getenv(brokersVariable); v != "" {
		return v
	}
	if d, err := ReadDevCluster(DevDir); err == nil && d.Running() > 0 {
		return d.Bootstrap()
	}
	return DefaultBootstrap
}
