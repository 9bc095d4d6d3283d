package invariants

import (
	"strings"
	"testing"
)

func TestCheck_HoldsIsSilent(t *testing.T) {
	Check(true, "never")
}

func TestCheck_ViolatedPanicsOnlyWhenEnabled(t *testing.T) {
	defer func() {
		got := recover()
		if !Enabled {
			if got != nil {
				t.Fatalf("panicked in a build without invariants: %v", got)
			}
			return
		}
		if text, ok := got.(string); !ok || !strings.Contains(text, "offset 3 above 2") {
			t.Fatalf("recovered %v, want the text of the violation", got)
		}
	}()
	Check(false, "offset %d above %d", 3, 2)
}
