//go:build steps

package main

import "time"

// clockSteps reports whether the program can set its own wall clock.
const clockSteps = true

// stepClock sets the wall clock some seconds forward from the true time. patches/clock.patch gives this
// function to Go's package time, because Go asks the kernel for the time past every library that could change
// it.
func stepClock(seconds int64) { time.StepWall(seconds) }
