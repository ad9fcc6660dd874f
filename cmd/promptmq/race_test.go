//go:build race

package main

// raceDetector: the tests run with -race, so the binary is built with it too.
const raceDetector = true
