package sessionsql

import (
	"sync"
	"sync/atomic"
)

// A busyCounter counts what takes hardly longer than a CPU waits for another one's cache line. Goroutines
// that run on different CPUs mostly add to different lines.
type busyCounter struct {
	lines [32]counterLine
	next  atomic.Uint32
	free  sync.Pool // of *counterLine; it returns the line that was last put back on the same CPU
}

type counterLine struct {
	n atomic.Int64
	_ [120]byte // CPUs fetch lines of 64 bytes in pairs
}

func (c *busyCounter) add() {
	line, _ := c.free.Get().(*counterLine)
	if line == nil {
		line = &c.lines[c.next.Add(1)%uint32(len(c.lines))]
	}
	line.n.Add(1)
	c.free.Put(line)
}

func (c *busyCounter) sum() (n int64) {
	for i := range c.lines {
		n += c.lines[i].n.Load()
	}
	return n
}
