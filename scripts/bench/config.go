package main

import "time"

// A config says how much of everything a run does.
type config struct {
	mode   string // "full", "quick" or "smoke"
	rounds int

	slice         time.Duration // one contestant's turn in one round of insert and lookup
	insertCallers []int
	lookupCallers []int
	keepDatabases bool // to the end, because dropping one takes a checkpoint

	latencyRows int           // insert-latency: rows of each contestant, over all rounds
	latencyTurn time.Duration // and the longest turn

	lookupRows     int
	pendingTouches int // touches whose memory is measured

	pageRows    int
	pageCallers int
	pageSlice   time.Duration

	keepaliveRows   int
	keepaliveChunk  int
	keepalivePasses int // over all rows between two checkpoints
	keepaliveSingle int // updates of the one-update-a-request contestant

	reapSizes     []int
	reapPages     int // pages a call
	reapCalls     int // calls a turn
	reapLoopRows  int // rows of the table on which the reaper's loop runs beside lookups
	reapLoopPhase time.Duration
	reapLoopPause time.Duration // the loop's interval
	reapLoopPeers bool          // also while the other ways of reaping run

	steady        time.Duration // of each variant
	steadySession int           // inserts a second
	steadyNaptime string        // autovacuum_naptime, shortened as much as the timeouts are

	payloadSizes []int
	payloadSlice time.Duration
}

// The live rows that most scenarios stand on are those of the issue that asked for this benchmark.
func fullConfig() config {
	return config{
		mode: "full", rounds: 5,
		slice: 2 * time.Second, insertCallers: []int{1, 64, 256}, lookupCallers: []int{1, 64, 256},
		latencyRows: 100_000, latencyTurn: time.Minute,
		lookupRows: 300_000, pendingTouches: 1_000_000,
		// what Options.FlushInterval is by default
		pageRows: 300_000, pageCallers: 64, pageSlice: 30 * time.Second,
		// As often as in the measurement behind fillfactor 70: 570,000 updates on a table of 100,000.
		keepaliveRows: 1_000_000, keepaliveChunk: 50_000, keepalivePasses: 6, keepaliveSingle: 100_000,
		reapSizes: []int{100_000, 1_000_000, 10_000_000}, reapPages: 512, reapCalls: 10,
		reapLoopRows: 1_000_000, reapLoopPhase: 8 * time.Second, reapLoopPause: 2 * time.Second,
		reapLoopPeers: true,
		steady:        5 * time.Minute, steadySession: 2000, steadyNaptime: "2s",
		payloadSizes: []int{250, 2_000, 8_000, 64_000}, payloadSlice: 500 * time.Millisecond,
	}
}

// quickConfig is for a look in passing: the same comparisons, on fewer rows and with shorter turns.
func quickConfig() config {
	c := fullConfig()
	c.mode, c.rounds = "quick", 3
	c.slice, c.keepDatabases = 50*time.Millisecond, true
	c.insertCallers, c.lookupCallers = []int{64}, []int{1, 64}
	c.latencyRows, c.latencyTurn = 6_000, 100*time.Millisecond
	c.lookupRows = 10_000
	c.pageRows, c.pageSlice = 20_000, 150*time.Millisecond
	c.keepaliveRows, c.keepaliveChunk = 20_000, 1_000 // as large a share at a time as in full
	c.keepalivePasses, c.keepaliveSingle = 4, 5_000
	c.reapSizes = []int{100_000, 1_000_000}
	c.reapLoopRows, c.reapLoopPeers = 100_000, false
	c.reapLoopPhase, c.reapLoopPause = 400*time.Millisecond, 120*time.Millisecond
	c.steady, c.steadyNaptime = 1200*time.Millisecond, "1s"
	c.payloadSizes, c.payloadSlice = []int{250, 8_000}, 12*time.Millisecond
	return c
}

// smokeConfig proves in seconds that every scenario still runs; its numbers mean nothing.
func smokeConfig() config {
	return config{
		mode: "smoke", rounds: 2,
		slice: 10 * time.Millisecond, keepDatabases: true,
		insertCallers: []int{1, 64}, lookupCallers: []int{1, 64},
		latencyRows: 80, latencyTurn: 100 * time.Millisecond,
		lookupRows: 500, pendingTouches: 50_000,
		pageRows: 640, pageCallers: 64, pageSlice: 20 * time.Millisecond,
		keepaliveRows: 1_000, keepaliveChunk: 50, keepalivePasses: 2, keepaliveSingle: 100,
		reapSizes: []int{1_000, 2_000}, reapPages: 8, reapCalls: 2,
		reapLoopRows: 2_000, reapLoopPhase: 100 * time.Millisecond, reapLoopPause: 30 * time.Millisecond,
		reapLoopPeers: true,
		steady:        600 * time.Millisecond, steadySession: 500, steadyNaptime: "1s",
		payloadSizes: []int{250, 8_000}, payloadSlice: 5 * time.Millisecond,
	}
}
