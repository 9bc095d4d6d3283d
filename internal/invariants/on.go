//go:build invariants || race

package invariants

// Enabled is true in builds with invariants.
const Enabled = true
