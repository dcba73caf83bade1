package coalesce

import "context"

// MaxCalls bounds the calls of a batch, or of each part of it. Beyond it a larger batch no longer lowers the
// cost of a call.
const MaxCalls = 64

// A batch holds the calls that share a round trip. The group's mutex guards its fields except done.
type batch[Q, A any] struct {
	calls   []*Call[Q, A]
	bytes   int
	values  context.Context
	waiting int           // callers that still want an answer
	cancel  func()        // nil until the batch is sent
	done    chan struct{} // closed when every call has its answer
}

// join adds a call to the last batch of the queue, or to a new one behind it. The mutex is held.
func (g *Group[Q, A]) join(ctx context.Context, call *Call[Q, A]) *batch[Q, A] {
	var last *batch[Q, A]
	size := g.config.Size(call.Question)
	if n := len(g.queue); n > 0 && g.hasRoom(g.queue[n-1], size) {
		last = g.queue[n-1]
	} else {
		last = &batch[Q, A]{values: context.WithoutCancel(ctx), done: make(chan struct{})}
		g.queue = append(g.queue, last)
		if n == 0 {
			g.startStallTimer()
		}
	}
	last.calls = append(last.calls, call)
	last.bytes += size
	last.waiting++
	g.queued++
	if g.queued >= g.callsPerWorker()*g.workers && g.workers < maxWorkers {
		g.addWorker()
	}
	return last
}

func (g *Group[Q, A]) hasRoom(b *batch[Q, A], size int) bool {
	return len(b.calls) < MaxCalls*g.config.Parts() && (size == 0 || b.bytes+size <= g.config.MaxBytes)
}

// leave takes a caller out of its batch. The last caller to leave ends the batch's context.
func (g *Group[Q, A]) leave(b *batch[Q, A], call *Call[Q, A]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	call.left = true
	b.waiting--
	if b.waiting == 0 && b.cancel != nil {
		b.cancel()
	}
}

// callsToSend returns the calls of a batch whose callers have not left. From now on the last to leave calls
// cancel.
func (g *Group[Q, A]) callsToSend(b *batch[Q, A], cancel func()) []*Call[Q, A] {
	g.mu.Lock()
	defer g.mu.Unlock()
	b.cancel = cancel
	if b.waiting == len(b.calls) {
		return b.calls
	}
	calls := make([]*Call[Q, A], 0, b.waiting)
	for _, call := range b.calls {
		if !call.left {
			calls = append(calls, call)
		}
	}
	return calls
}
