package scenarios

import (
	"embed"
	"fmt"
	"io"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names of the files, without their ending.
func Names() []string {
	entries, _ := files.ReadDir(".") // it is embedded
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Open opens the file of that name.
func Open(name string) (io.ReadCloser, error) {
	f, err := files.Open(name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("scenarios %q: %w", name, err)
	}
	return f, nil
}
