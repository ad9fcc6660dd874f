//go:build !race

package broker_test

const raceSlowdown = 1
