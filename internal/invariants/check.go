package invariants

import "fmt"

// Check panics with the formatted text if holds is false and invariants are enabled. Where computing
// holds costs something, ask for [Enabled] first.
func Check(holds bool, format string, args ...any) {
	if Enabled && !holds {
		panic("invariant violated: " + fmt.Sprintf(format, args...))
	}
}
