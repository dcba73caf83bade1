package coalesce

import (
	"runtime"
	"time"
)

const (
	// A second worker starts when this many calls wait. The server then works on one batch while the callers
	// of the other get their answers. More workers, or an earlier second one, only make batches smaller.
	callsPerWorker = 24
	maxWorkers     = 2

	// A worker can block on a dead connection or on a locked row. If no worker comes to the queue for this
	// long, all are abandoned and a new one starts.
	stallTimeout = 100 * time.Millisecond
)

// callsPerWorker returns the number of calls that wait before a second worker starts. It is a full batch if
// the server cuts batches into parts, because two smaller batches would be cut into twice as many.
func (g *Group[Q, A]) callsPerWorker() int {
	if parts := g.config.Parts(); parts > 1 {
		return parts * MaxCalls
	}
	return callsPerWorker
}

// release ends a lone call, which counts as a worker. A real worker takes its place if calls have gathered.
func (g *Group[Q, A]) release(generation int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case generation != g.generation:
	case len(g.queue) > 0:
		go g.work(generation)
	default:
		g.workers--
	}
}

func (g *Group[Q, A]) addWorker() {
	if len(g.queue) > 0 {
		g.workers++
		go g.work(g.generation)
	}
}

// work sends batches until the queue is empty or the worker is abandoned.
func (g *Group[Q, A]) work(generation int) {
	for {
		next := g.take(generation)
		if next == nil {
			return
		}
		g.send(next)
		// Callers often ask their next question at once, so they run first. An idle processor may resume this
		// goroutine before it starts theirs, so yielding once is not enough.
		runtime.Gosched()
		runtime.Gosched()
	}
}

// take returns the oldest batch, or nil to end the worker.
func (g *Group[Q, A]) take(generation int) *batch[Q, A] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if generation != g.generation {
		return nil
	}
	g.taken++
	if len(g.queue) == 0 {
		g.stopStallTimer()
		g.workers--
		return nil
	}
	next := g.queue[0]
	g.queue[0] = nil
	if g.queue = g.queue[1:]; len(g.queue) == 0 {
		g.queue = nil
	}
	g.queued -= len(next.calls)
	return next
}

func (g *Group[Q, A]) send(b *batch[Q, A]) {
	ctx, cancel := g.config.Context(b.values)
	calls := g.callsToSend(b, cancel)
	defer func() {
		if p := recover(); p != nil {
			for _, call := range calls {
				call.panicked = p
			}
		}
		cancel()
		close(b.done)
	}()
	switch len(calls) {
	case 0:
	case 1:
		calls[0].Answer, calls[0].Err = g.one(ctx, calls[0].Question)
	default:
		g.trips.Add(1)
		g.config.Many(ctx, calls)
	}
}

// startStallTimer abandons the workers when none has come to the queue after stallTimeout. The mutex is held.
func (g *Group[Q, A]) startStallTimer() {
	g.stopStallTimer()
	before := g.taken
	g.stall = time.AfterFunc(stallTimeout, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.taken == before {
			g.abandon()
		}
		if len(g.queue) > 0 {
			g.startStallTimer()
		}
	})
}

func (g *Group[Q, A]) stopStallTimer() {
	if g.stall != nil {
		g.stall.Stop()
	}
}

// abandon leaves the present workers uncounted and starts a new one. The mutex is held.
func (g *Group[Q, A]) abandon() {
	g.generation++
	g.workers = 0
	g.addWorker()
}
