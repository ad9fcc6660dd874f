//go:build race

package conformance

// raceDetector: the suite runs with -race, so the broker it starts is built with it too.
const raceDetector = true
