package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	callDeadline = time.Second

	writePeriod  = 100 * time.Millisecond
	lookupPeriod = 50 * time.Millisecond
	rawPeriod    = 30 * time.Millisecond
)

// A meter records how late calls were.
type meter struct {
	mu    sync.Mutex
	calls int
	late  []interval // from the deadline to the end of the call
	worst time.Duration
	on    string // the verb of the worst
}

func (m *meter) add(verb string, deadline, end int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	past := time.Duration(end - deadline)
	if past > maxPastDeadline {
		m.late = append(m.late, interval{deadline, end})
	}
	if past > m.worst {
		m.worst, m.on = past, verb
	}
}

// timed makes a call with the deadline that every call of the workload has.
func (g *group) timed(verb string, do func(context.Context) error) (start, end int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
	defer cancel()
	start = g.history.now()
	err = do(ctx)
	end = g.history.now()
	g.meter.add(verb, start+int64(callDeadline), end)
	return start, end, err
}

// pulse makes a call at even intervals even if earlier ones have not ended, as visitors of a site do.
func (g *group) pulse(s *series, verb string, do func(context.Context) error) {
	g.running.Go(func() {
		ticker := time.NewTicker(s.period)
		defer ticker.Stop()
		var calls sync.WaitGroup
		defer calls.Wait()
		for {
			select {
			case <-g.stopping:
				return
			case <-ticker.C:
			}
			calls.Go(func() {
				start, end, err := g.timed(verb, do)
				s.add(result{start, end, err == nil})
			})
		}
	})
}

// startProbes sends even pulses through each Store and to each server.
func (g *group) startProbes(unknownPerSecond int) {
	for i, s := range g.stores {
		inserts := &series{name: fmt.Sprintf("inserts of store %d", i), period: writePeriod}
		updates := &series{name: fmt.Sprintf("updates of store %d", i), period: writePeriod}
		lookups := &series{name: fmt.Sprintf("lookups of store %d", i), period: lookupPeriod}
		g.writes = append(g.writes, inserts, updates)
		g.lookups = append(g.lookups, lookups)
		g.pulse(inserts, "Insert", func(ctx context.Context) error {
			_, err := s.Insert(ctx, "probe", nil)
			return err
		})
		g.pulse(updates, "Update", func(ctx context.Context) error {
			_, err := s.Update(ctx, g.beats[i], "probe", anyVersion)
			return err
		})
		g.pulse(lookups, "Lookup", func(ctx context.Context) error { return g.lookCanary(ctx, i, s) })
		if unknownPerSecond > 0 {
			period := time.Second * time.Duration(len(g.stores)) / time.Duration(unknownPerSecond)
			g.pulse(&series{period: period}, "Lookup", func(ctx context.Context) error {
				_, _, err := s.Lookup(ctx, unknownToken())
				if err == nil {
					g.report("store %d: an unknown token opened a session", i)
				}
				return err
			})
		}
	}
	for i := range g.stores { // as many as Stores, so that both sides have the same luck
		writes := &series{name: fmt.Sprintf("raw writes %d", i), period: rawPeriod}
		g.rawWrites = append(g.rawWrites, writes)
		statement := fmt.Sprintf(cmp.Or(g.routes.rawWrite, beat), i)
		g.running.Go(func() { g.rawLoop(writes, g.routes.clients[0], statement) })
	}
	for i, dsn := range g.routes.clients {
		reads := &series{name: fmt.Sprintf("raw reads of server %d", i), period: rawPeriod}
		g.rawReads = append(g.rawReads, reads)
		g.running.Go(func() { g.rawLoop(reads, dsn, "SELECT 1") })
	}
}

// lookCanary looks up a session without writes, which every server has.
func (g *group) lookCanary(ctx context.Context, i int, s sessions) error {
	c := g.canaries[rand.IntN(len(g.canaries))]
	payload, version, err := s.Lookup(ctx, c.token)
	o, untyped := outcomeOf(lookup, err)
	switch {
	case untyped:
		g.report("store %d: Lookup: untyped error: %v", i, err)
	case o == noSession:
		g.report("store %d: a live session is said to be none", i)
	case o == done && (payload != c.payload || version != 1):
		g.report("store %d: a session has another's payload", i)
	}
	return err
}

func unknownToken() string {
	raw := make([]byte, 0, 24)
	raw = binary.BigEndian.AppendUint64(raw, 1+rand.Uint64N(1000))
	raw = binary.BigEndian.AppendUint64(raw, rand.Uint64())
	raw = binary.BigEndian.AppendUint64(raw, rand.Uint64())
	return base64.RawURLEncoding.EncodeToString(raw)
}

// rawLoop acts as an application without a Store. It has one connection, and makes a new one after a failure.
func (g *group) rawLoop(s *series, dsn, statement string) {
	var conn *pgx.Conn
	hangUp := func() {
		if conn == nil {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // it closes without a farewell
		_ = conn.Close(ctx)
		conn = nil
	}
	defer func() { hangUp() }()
	for {
		select {
		case <-g.stopping:
			return
		case <-time.After(s.period):
		}
		start := g.history.now()
		var err error
		if conn == nil {
			ctx, cancel := context.WithTimeout(context.Background(), g.routes.dial)
			conn, err = pgx.Connect(ctx, dsn)
			cancel()
		}
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
			_, err = conn.Exec(ctx, statement)
			cancel()
		}
		s.add(result{start, g.history.now(), err == nil})
		if err != nil {
			hangUp()
		}
	}
}

// broken returns the broken rules so far.
func (g *group) broken() []violation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.violations)
}

// report records a broken rule, and the same one once for each fault.
func (g *group) report(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	what := fmt.Sprintf(format, args...)
	key := fmt.Sprint(g.current, what)
	if g.reported[key] {
		return
	}
	g.reported[key] = true
	g.violations = append(g.violations, violation{at: g.history.now(), what: what})
}
