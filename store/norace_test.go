//go:build !race

package store

const raceSlowdown = 1
