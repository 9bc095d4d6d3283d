package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/stelemq/stele/internal/config"
)

// identity is who owns a data directory, kept in its meta.properties as Kafka keeps it.
type identity struct {
	nodeID    int32
	clusterID string // empty until the cluster is known
}

const (
	metaName    = "meta.properties"
	metaVersion = "1"
)

// readIdentity reads a directory's identity; ok is false if it has none yet.
func readIdentity(dir string) (id identity, ok bool, err error) {
	path := filepath.Join(dir, metaName)
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, err //nolint:wrapcheck // says operation and path
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(key, "#") {
			values[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	if v := values["version"]; v != metaVersion {
		return identity{}, false, fmt.Errorf("%s has version %q, and this program knows version %s: it was written by a newer program", path, v, metaVersion)
	}
	n, err := strconv.ParseInt(values["node.id"], 10, 32)
	if err != nil || n < 0 {
		return identity{}, false, fmt.Errorf("%s: node.id is %q, not a number; restore the file from a backup, or remove it to have it written anew", path, values["node.id"])
	}
	return identity{int32(n), values["cluster.id"]}, true, nil
}

// writeIdentity replaces the identity of a directory atomically and durably.
func writeIdentity(dir string, id identity) error {
	text := fmt.Sprintf("version=%s\nnode.id=%d\n", metaVersion, id.nodeID)
	if id.clusterID != "" {
		text += "cluster.id=" + id.clusterID + "\n"
	}
	path := filepath.Join(dir, metaName)
	if err := writeSynced(path+".tmp", text); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err //nolint:wrapcheck // says operation and paths
	}
	return syncPath(dir)
}

func writeSynced(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	return syncPath(path)
}

func syncPath(path string) error {
	f, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return err //nolint:wrapcheck // says operation and path
	}
	return errors.Join(f.Sync(), f.Close())
}

// resolveIdentity decides who this broker is: what the directory says, unless the settings contradict it.
func resolveIdentity(dir string, c *config.Config) (identity, error) {
	kept, ok, err := readIdentity(dir)
	if err != nil {
		return identity{}, err
	}
	if !ok {
		id := identity{c.NodeID, c.ClusterID}
		if id.nodeID < 0 {
			id.nodeID = ordinal()
		}
		return id, nil
	}
	if c.NodeID >= 0 && c.NodeID != kept.nodeID {
		return identity{}, fmt.Errorf("%s belongs to node %d, but node.id is %d (%s). Set node.id=%d, or log.dirs to this node's own directory",
			dir, kept.nodeID, c.NodeID, c.Origins["node.id"], kept.nodeID)
	}
	if c.ClusterID != "" && kept.clusterID != "" && c.ClusterID != kept.clusterID {
		return identity{}, fmt.Errorf("%s belongs to cluster %s, but cluster.id is %s (%s). Set cluster.id=%s, or log.dirs to a directory of that cluster",
			dir, kept.clusterID, c.ClusterID, c.Origins["cluster.id"], kept.clusterID)
	}
	return kept, nil
}

// ordinal is the number at the end of the host's name, as a stateful set gives it; 1 if there is none.
func ordinal() int32 {
	host, err := os.Hostname()
	if err != nil {
		return 1
	}
	return ordinalOf(host)
}

func ordinalOf(host string) int32 {
	name, _, _ := strings.Cut(host, ".")
	m := regexp.MustCompile(`-(\d{1,9})$`).FindStringSubmatch(name)
	if m == nil {
		return 1
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		return 1
	}
	return int32(n)
}
