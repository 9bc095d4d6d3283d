// Package readme runs what the README tells a newcomer to type. It has no code besides its tests.
package readme
