package main

import "time"

// A config sets the sizes and durations of a run.
type config struct {
	mode   string // "full", "quick" or "smoke"
	rounds int

	slice         time.Duration // one contestant's turn in a round of insert and lookup
	insertCallers []int
	lookupCallers []int
	keepDatabases bool // until the end, because dropping one takes a checkpoint

	latencyRows int           // insert-latency: the rows of each contestant over all rounds
	latencyTurn time.Duration // insert-latency: the longest turn

	lookupRows     int
	pendingTouches int // the touches whose memory lookup measures

	pageRows    int
	pageCallers int
	pageSlice   time.Duration

	keepaliveRows   int
	keepaliveChunk  int
	keepalivePasses int // passes over all rows between two checkpoints
	keepaliveSingle int // updates by the contestant that updates at every request

	reapSizes     []int
	reapPages     int // pages in a call
	reapCalls     int // calls in a turn
	reapLoopRows  int // rows of the table for the reaper's loop
	reapLoopPhase time.Duration
	reapLoopPause time.Duration // the loop's interval
	reapLoopPeers bool          // the other ways of reaping run too

	steady        time.Duration // duration of each variant
	steadySession int           // inserts in a second
	steadyNaptime string        // autovacuum_naptime, shortened like the timeouts

	routerCallers []int

	payloadSizes []int
	payloadSlice time.Duration

	nearLevels  []nearLevel
	nearCallers []int
	nearSlice   time.Duration
	nearLogouts int           // whose staleness is measured, over all rounds
	nearBound   time.Duration // MaxStaleness; the times of rueidis shrink with it
	nearLogOps  int           // logouts of each contestant in a turn
	nearStores  []int         // the numbers of Stores that poll
	nearPolling time.Duration

	scaleSizes     []int // sessions
	scaleCacheRows int   // as many entries at most
	scaleOps       int   // operations in a round
}

// The full sizes come from the issue that asked for this benchmark.
func fullConfig() config {
	return config{
		mode: "full", rounds: 5,
		slice: 2 * time.Second, insertCallers: []int{1, 64, 256}, lookupCallers: []int{1, 64, 256},
		latencyRows: 100_000, latencyTurn: time.Minute,
		lookupRows: 300_000, pendingTouches: 1_000_000,
		// A page-load turn lasts as long as the default of Options.FlushInterval.
		pageRows: 300_000, pageCallers: 64, pageSlice: 30 * time.Second,
		// The passes repeat the measurement that fillfactor 70 rests on.
		keepaliveRows: 1_000_000, keepaliveChunk: 50_000, keepalivePasses: 6, keepaliveSingle: 100_000,
		reapSizes: []int{100_000, 1_000_000, 10_000_000}, reapPages: 512, reapCalls: 10,
		reapLoopRows: 1_000_000, reapLoopPhase: 8 * time.Second, reapLoopPause: 2 * time.Second,
		reapLoopPeers: true,
		steady:        5 * time.Minute, steadySession: 2000, steadyNaptime: "2s",
		routerCallers: []int{64, 256, 1024},
		payloadSizes:  []int{250, 2_000, 8_000, 64_000}, payloadSlice: 500 * time.Millisecond,
		nearLevels: []nearLevel{
			{50, 350 << 10, 2170 << 10},
			{90, 44 << 20, 67 << 20},
			{99, 122 << 20, 172 << 20},
		},
		nearCallers: []int{64, 256}, nearSlice: 500 * time.Millisecond,
		nearLogouts: 1000, nearBound: time.Second, nearLogOps: 100_000,
		nearStores: []int{1, 10, 100}, nearPolling: 10 * time.Second,
		scaleSizes: []int{1_000_000, 10_000_000, 50_000_000}, scaleCacheRows: 10_000_000, scaleOps: 5_000,
	}
}

// quickConfig makes the same comparisons on fewer rows and in shorter turns.
func quickConfig() config {
	c := fullConfig()
	c.mode, c.rounds = "quick", 3
	c.slice, c.keepDatabases = 50*time.Millisecond, true
	c.insertCallers, c.lookupCallers = []int{64}, []int{1, 64}
	c.routerCallers = []int{256}
	c.latencyRows, c.latencyTurn = 6_000, 100*time.Millisecond
	c.lookupRows = 10_000
	c.pageRows, c.pageSlice = 20_000, 150*time.Millisecond
	c.keepaliveRows, c.keepaliveChunk = 20_000, 1_000 // the same share of the rows as in full
	c.keepalivePasses, c.keepaliveSingle = 4, 5_000
	c.reapSizes = []int{100_000, 1_000_000}
	c.reapLoopRows, c.reapLoopPeers = 100_000, false
	c.reapLoopPhase, c.reapLoopPause = 400*time.Millisecond, 120*time.Millisecond
	c.steady, c.steadyNaptime = 1200*time.Millisecond, "1s"
	c.payloadSizes, c.payloadSlice = []int{250, 8_000}, 12*time.Millisecond
	c.nearLevels = []nearLevel{{90, 2440 << 10, 4230 << 10}}
	c.nearCallers, c.nearSlice = []int{64}, 50*time.Millisecond
	c.nearLogouts, c.nearBound, c.nearLogOps = 50, 50*time.Millisecond, 1_000
	c.nearStores, c.nearPolling = []int{1, 10}, 400*time.Millisecond
	c.scaleSizes, c.scaleOps = c.scaleSizes[:2], 2_000
	return c
}

// smokeConfig shows that every scenario runs. Its figures mean nothing.
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
		routerCallers: []int{256},
		payloadSizes:  []int{250, 8_000}, payloadSlice: 5 * time.Millisecond,
		nearLevels:  []nearLevel{{90, 100 << 10, 150 << 10}},
		nearCallers: []int{64}, nearSlice: 10 * time.Millisecond,
		nearLogouts: 10, nearBound: 50 * time.Millisecond, nearLogOps: 100,
		nearStores: []int{1, 2}, nearPolling: 50 * time.Millisecond,
		scaleSizes: []int{2_000}, scaleCacheRows: 2_000, scaleOps: 25,
	}
}
