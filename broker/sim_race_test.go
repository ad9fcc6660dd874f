//go:build race

package broker_test

// raceSlowdown is by how much the race detector slows a simulation down: few
// seeds become fewer.
const raceSlowdown = 4
