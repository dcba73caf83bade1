package sessionsql

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// A Store writes this many lines at once, and then one in each interval: 18 in any minute at most. A
	// server that comes and goes would otherwise fill the log.
	lineBurst    = 8
	lineInterval = 6 * time.Second
)

// A logbook writes a Store's log lines, one for each change of a condition. When there are more changes than
// it may write lines, a condition waits, and its next line says how many changes it stands for. Every probe
// calls note, so a waiting line is written within one probe interval after its turn.
type logbook struct {
	logger *slog.Logger

	mu      sync.Mutex
	fullAt  time.Time    // when a whole burst may be written again
	waiting []*condition // the oldest first
}

// A condition is whether a server or a background loop works.
type condition struct {
	bad, good string // the texts of its lines
	node      string // empty for a background loop

	err       error     // nil while it works
	since     time.Time // when it last changed
	lastSince time.Time // since, as of the last line
	changes   int       // since the last line
}

type line struct {
	level slog.Level
	text  string
	attrs []slog.Attr
}

// note records the state of a condition, and writes the lines that are due. A nil error says that it works.
// The Logger is called without the mutex, because it may be slow and may use the Store.
func (b *logbook) note(c *condition, err error) {
	for _, l := range b.linesDue(c, err) {
		b.logger.LogAttrs(context.Background(), l.level, l.text, l.attrs...)
	}
}

func (b *logbook) linesDue(c *condition, err error) (lines []line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if (err == nil) != (c.err == nil) {
		if c.since = now; c.changes == 0 {
			b.waiting = append(b.waiting, c)
		}
		c.changes++
	}
	c.err = err
	if b.fullAt.Before(now) {
		b.fullAt = now
	}
	for len(b.waiting) > 0 && b.fullAt.Sub(now) <= (lineBurst-1)*lineInterval {
		b.fullAt = b.fullAt.Add(lineInterval)
		lines = append(lines, b.waiting[0].line())
		b.waiting = b.waiting[1:]
	}
	return lines
}

func (c *condition) line() line {
	l := line{level: slog.LevelInfo, text: "sessionsql: " + c.good}
	if c.node != "" {
		l.attrs = append(l.attrs, slog.String("node", c.node))
	}
	switch {
	case c.err != nil:
		l.level, l.text = slog.LevelWarn, "sessionsql: "+c.bad
		l.attrs = append(l.attrs, slog.Any("err", c.err))
	case !c.lastSince.IsZero():
		l.attrs = append(l.attrs, slog.Duration("after", c.since.Sub(c.lastSince)))
	}
	if c.changes > 1 {
		l.attrs = append(l.attrs, slog.Int("changes", c.changes))
	}
	c.lastSince, c.changes = c.since, 0
	return l
}
