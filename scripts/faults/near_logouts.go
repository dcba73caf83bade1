package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	liveSessions = 100 // how many sessions the readers find alive
	writers      = 4
	writePause   = 8 * time.Millisecond // between two writes of a writer

	// nearIdle is longer than any fault. A touch passes over a row that a transaction has locked.
	nearIdle = time.Hour
)

// nearPayload takes a slow connection many slices.
var nearPayload = strings.Repeat("near", 150)

// Logouts end and write sessions without any proxy, while readers look them up. Afterwards the readers'
// answers are judged.
type logouts struct {
	g       *group
	store   *store
	readers []*program

	// writing is held for reading by each write, and for writing by whatever ends all sessions at once.
	writing sync.RWMutex
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	all     []*victim
	live    []*victim // those that no writer has taken
	revokes int
}

// A victim is a session that a write ends.
type victim struct {
	token, subject string
	end            int64 // when the write that ended it had returned; 0 while it lives
	updates        []written
	revoked        bool
	held           bool // a reader has answered it from memory
}

// A written is a payload write, with the time at which it had returned.
type written struct {
	version int32
	end     int64
}

// startLogouts opens two readers, one of them without replicas, and begins.
func (g *group) startLogouts(ctx context.Context) (*logouts, error) {
	l := &logouts{g: g, stop: make(chan struct{})}
	primary := g.routes.direct[0]
	if len(g.nodes) > 0 { // past the proxies, and to whichever server is the primary
		var addresses []string
		for _, node := range g.nodes {
			addresses = append(addresses, node.Address())
		}
		primary = dsnOf(addresses...)
	}
	if err := install(ctx, g.routes.direct[0]); err != nil {
		return nil, err
	}
	var err error
	if l.store, err = openStore(ctx, primary, nil, false, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	for _, dsns := range [][]string{g.routes.clients, g.routes.clients[:1]} {
		p, err := g.startProgram(dsns...)
		if err != nil {
			return nil, errors.Join(err, l.close(ctx))
		}
		l.readers = append(l.readers, p)
	}
	for range writers {
		l.running.Go(l.write)
	}
	return l, nil
}

// close ends what startLogouts has opened, if judge has not.
func (l *logouts) close(ctx context.Context) error {
	var err error
	for _, p := range l.readers {
		err = errors.Join(err, p.kill())
	}
	l.readers = nil
	return errors.Join(err, l.store.Close(ctx))
}

func (l *logouts) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// write writes until the end.
func (l *logouts) write() {
	for !l.stopped() {
		l.writing.RLock()
		if v := l.take(liveSessions); v != nil {
			l.act(v)
		} else {
			l.insert()
		}
		l.writing.RUnlock()
		time.Sleep(writePause)
	}
}

// take returns a session that lives, which no other writer has from now on. It returns nil if there are less
// than some.
func (l *logouts) take(least int) *victim {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.live) < least {
		return nil
	}
	i := rand.IntN(len(l.live))
	v := l.live[i]
	l.live = slices.Delete(l.live, i, i+1)
	return v
}

// give makes a session known to the writers.
func (l *logouts) give(v *victim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = append(l.live, v)
}

// add makes a new session known to the readers too.
func (l *logouts) add(token, subject string) {
	v := &victim{token: token, subject: subject}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all, l.live = append(l.all, v), append(l.live, v)
	for _, p := range l.readers {
		if err := p.tell(token); err != nil {
			l.g.report("a reader takes no more sessions: %v", err)
		}
	}
}

// ended notes that sessions have ended by now.
func (l *logouts) ended(byRevoke bool, sessions ...*victim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range sessions {
		v.end, v.revoked = l.g.history.now(), byRevoke
	}
	if byRevoke {
		l.revokes += len(sessions)
	}
}

func (l *logouts) insert() {
	ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
	defer cancel()
	subject := fmt.Sprintf("near %d", l.g.history.newID())
	token, err := l.store.Insert(ctx, nearPayload, &insertOptions{Subject: subject, IdleTimeout: nearIdle})
	if err == nil {
		l.add(token, subject)
	}
}

// act updates a session or ends it.
func (l *logouts) act(v *victim) {
	switch chance := rand.IntN(100); {
	case chance < 30:
		l.update(v)
	case chance < 75:
		if l.insist(func(ctx context.Context) error { return l.store.Revoke(ctx, v.token) }) {
			l.ended(true, v)
		}
	case chance < 85:
		if l.insist(func(ctx context.Context) error { return l.store.RevokeSubject(ctx, v.subject, "") }) {
			l.ended(true, v)
		}
	case chance < 95:
		l.replace(v, l.store.renew, 0)
	default:
		l.replace(v, l.store.Rotate, grace)
	}
}

func (l *logouts) update(v *victim) {
	ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
	defer cancel()
	if version, err := l.store.Update(ctx, v.token, nearPayload, anyVersion); err == nil {
		v.updates = append(v.updates, written{version, l.g.history.now()})
	}
	l.give(v)
}

// replace rotates a session, whose token opens it for no longer than it is spared.
func (l *logouts) replace(
	v *victim, rotate func(context.Context, string) (string, error), spared time.Duration,
) {
	var renewed string
	if l.insist(func(ctx context.Context) (err error) {
		renewed, err = rotate(ctx, v.token)
		return err
	}) {
		l.ended(false, v)
		v.end += int64(spared)
		if renewed != "" {
			l.add(renewed, v.subject)
		}
	}
}

// insist repeats a write until it has certainly been done, and reports whether it has.
func (l *logouts) insist(do func(context.Context) error) bool {
	for !l.stopped() {
		ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
		o, _ := outcomeOf(revoke, do(ctx))
		cancel()
		if o != unsure { // an earlier attempt that failed may have done it
			return true
		}
		time.Sleep(writePause)
	}
	return false
}

// revoked returns how many sessions have been revoked.
func (l *logouts) revoked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revokes
}

// judge ends the writes, and compares what each reader saw last with the time at which it had ended.
func (l *logouts) judge(ctx context.Context, row *nearRow) error {
	close(l.stop)
	l.running.Wait()
	if err := sleep(ctx, 2*maxStaleness); err != nil { // in which the readers look up the last ones
		return err
	}
	readers := l.readers
	l.readers = nil
	for i, p := range readers {
		lookups, hits, err := p.end(func(found answer, begun int64) {
			v := l.all[found.session]
			v.held = v.held || found.recalled
			bound := readStaleness
			if found.recalled || p.own {
				bound = maxStaleness
			}
			late := time.Duration(begun - l.outdated(v, found.version))
			if late > bound {
				l.g.report("reader %d: session %d, version %d: a lookup that began %v after its end or its "+
					"update succeeded (from memory: %v)",
					i, found.session, found.version, late, found.recalled)
			}
			row.fromAny = max(row.fromAny, late)
			if found.recalled {
				row.fromMemory = max(row.fromMemory, late)
			}
		})
		if err != nil {
			return err
		}
		row.lookups += lookups
		row.hits += hits
		if hits < l.revokes/2 {
			l.g.report("reader %d: only %d answers from memory, which show nothing", i, hits)
		}
	}
	for _, v := range l.all {
		if v.held && v.revoked {
			row.held++
		}
	}
	row.revokes += l.revokes
	return nil
}

// outdated returns the time since which an answer is outdated, which is never if no write has come after it.
// An update that a crash may have lost does not count.
func (l *logouts) outdated(v *victim, version int32) int64 {
	since := int64(never)
	if v.end > 0 {
		since = v.end
	}
	for _, u := range v.updates {
		if u.version > version && !l.g.history.mayHaveLost(u.end) {
			since = min(since, u.end)
		}
	}
	return since
}
