package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// writeMarks inserts sessions with their own payloads through each Store, many at a time. The returned
// function stops it and returns the acknowledged payloads.
func (g *group) writeMarks(name string) (end func() []string) {
	const writers = 8 // for each Store, so that it needs many connections of its pool
	var running sync.WaitGroup
	var mu sync.Mutex
	var acknowledged []string
	stop := make(chan struct{})
	for i, s := range g.stores {
		for j := range writers {
			running.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
					}
					payload := fmt.Sprintf("%s %d.%d.%d", name, i, j, n)
					_, _, err := g.timed("Insert", func(ctx context.Context) error {
						_, err := s.Insert(ctx, payload, nil)
						return err
					})
					if err == nil {
						mu.Lock()
						acknowledged = append(acknowledged, payload)
						mu.Unlock()
					}
				}
			})
		}
	}
	return func() []string {
		close(stop)
		running.Wait()
		return acknowledged
	}
}

// checkMarks checks that a server has all of these payloads.
func (g *group) checkMarks(ctx context.Context, dsn string, payloads []string) error {
	conn, err := connectAt(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var missing int
	err = conn.QueryRow(ctx, `SELECT count(*) FROM unnest($1::text[]) AS mark(payload)
		WHERE NOT EXISTS (SELECT FROM sessionsql.session AS s WHERE s.payload = mark.payload)`,
		payloads).Scan(&missing)
	if err != nil {
		return err
	}
	if missing > 0 {
		g.report("split brain: %d of %d inserts that were acknowledged after the thaw are lost",
			missing, len(payloads))
	}
	return nil
}
