//go:build race

package store

// raceSlowdown is by how much some tests do less with the race detector, which makes
// everything slower.
const raceSlowdown = 4
