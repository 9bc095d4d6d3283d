package peers

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed kafka.sh
var kafkaScript []byte

//go:embed pom.xml
var kafkaPOM []byte

// Unpack writes the script and the list of jars that it fetches into dir and returns the script's path. It needs bash, Java
// 17 and Maven.
func Unpack(dir string) (script string, err error) {
	script = filepath.Join(dir, "kafka.sh")
	if err := os.WriteFile(script, kafkaScript, 0o755); err != nil { //nolint:gosec // it is run
		return "", fmt.Errorf("unpack the script for Kafka: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), kafkaPOM, 0o644); err != nil { //nolint:gosec // not secret
		return "", fmt.Errorf("unpack the list of jars for Kafka: %w", err)
	}
	return script, nil
}
