package sessionsql

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A logbook writes a Store's log lines, one for each change of state. A server that comes and goes every
// second would fill the log, so lines are rationed: past the ration a condition waits, and its next line
// tells how many changes it stands for. Whoever looks at a server calls note, so a waiting condition is told
// within one look of its turn.
type logbook struct {
	log *slog.Logger

	mu      sync.Mutex
	whole   time.Time    // when the ration is whole again
	waiting []*condition // those with changes that no line tells of, in the order in which they began to wait
}

// A Store writes so many lines at once, and then one in each interval: 18 in any minute at most.
const (
	lineBurst    = 8
	lineInterval = 6 * time.Second
)

// A condition is whether a server, or something in the background, works.
type condition struct {
	worse, better string // the texts of its lines
	node          string // which server; empty for what runs in the background

	err     error     // why it does not work; nil while it does
	since   time.Time // when that last changed
	told    time.Time // since, as of the last line
	changes int       // how many changes no line tells of
}

// A line is one of the log.
type line struct {
	level slog.Level
	text  string
	attrs []slog.Attr
}

// note takes down how a condition is, nil for well, and writes what the ration allows. The Logger is called
// without the mutex, because it may be slow, and may use the Store.
func (b *logbook) note(c *condition, err error) {
	for _, l := range b.lines(c, err) {
		b.log.LogAttrs(context.Background(), l.level, l.text, l.attrs...)
	}
}

func (b *logbook) lines(c *condition, err error) (lines []line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Now()
	if (err == nil) != (c.err == nil) {
		if c.since = at; c.changes == 0 {
			b.waiting = append(b.waiting, c)
		}
		c.changes++
	}
	c.err = err
	if b.whole.Before(at) {
		b.whole = at
	}
	for len(b.waiting) > 0 && b.whole.Sub(at) <= (lineBurst-1)*lineInterval {
		b.whole = b.whole.Add(lineInterval)
		lines = append(lines, b.waiting[0].line())
		b.waiting = b.waiting[1:]
	}
	return lines
}

// line returns the line that tells of a condition as it is now.
func (c *condition) line() line {
	l := line{level: slog.LevelInfo, text: "sessionsql: " + c.better}
	if c.node != "" {
		l.attrs = append(l.attrs, slog.String("node", c.node))
	}
	switch {
	case c.err != nil:
		l.level, l.text = slog.LevelWarn, "sessionsql: "+c.worse
		l.attrs = append(l.attrs, slog.Any("err", c.err))
	case !c.told.IsZero():
		l.attrs = append(l.attrs, slog.Duration("after", c.since.Sub(c.told)))
	}
	if c.changes > 1 {
		l.attrs = append(l.attrs, slog.Int("changes", c.changes))
	}
	c.told, c.changes = c.since, 0
	return l
}
