//go:build !race

package main

const raceDetector = false

const raceSlowdown = 1
