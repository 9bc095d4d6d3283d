//go:build robustness

package robustness

import (
	"os"
	"testing"

	"github.com/stelemq/stele/tests/robustness/rig"
)

func TestMain(m *testing.M) {
	if os.Getenv("STELE_ROBUSTNESS_BOOTSTRAP") != "" { // a foreign broker listens where we are
		os.Exit(m.Run())
	}
	os.Exit(rig.Main(m.Run))
}
