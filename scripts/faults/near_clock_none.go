//go:build !steps

package main

// clockSteps is false. The build tag steps selects a version that can set its own wall clock.
const clockSteps = false

func stepClock(int64) {}
