//go:build race

package main

// raceDetector: the tests run with -race, so the binary is built with it too.
const raceDetector = true

// raceSlowdown is by how much some tests do less, as everything is slower.
const raceSlowdown = 4
