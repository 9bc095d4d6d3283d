//go:build race || invariants

package broker

// checked: costly checks are on.
const checked = true
