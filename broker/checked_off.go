//go:build !race && !invariants

package broker

// checked: costly checks are off.
const checked = false
