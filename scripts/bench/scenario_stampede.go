package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Stampede is how often a missing entry was loaded that many callers wanted at the same moment.
type Stampede struct {
	Contestant string    `json:"contestant"`
	Callers    int       `json:"callers"`
	Clients    int       `json:"clients"` // each with its own connections, like processes
	Loads      []int64   `json:"loads"`   // of each round
	Time       []float64 `json:"time_ms"` // until the last caller had the value, of each round
}

const (
	stampedeCallers = 1000
	stampedeClients = 3

	// loadTime is how long a load takes, as much as a slow query.
	loadTime = 50 * time.Millisecond
)

// stampedes lets callers of several clients ask for one missing key at the same moment.
func (b *bench) stampedes(ctx context.Context) error {
	d, err := b.servers.database(ctx, "stampede")
	if err != nil {
		return err
	}
	defer d.close()
	var stores, redis []cacher
	defer func() { closeAll(append(stores, redis...)) }()
	for range stampedeClients {
		store, err := openOursCache(ctx, d, quiet, nil)
		if err != nil {
			return err
		}
		stores = append(stores, store)
		redis = append(redis, openGoRedis(b.servers.redis, stampedeCallers/stampedeClients))
	}
	for _, clients := range [][]cacher{stores, redis} {
		s := Stampede{Contestant: clients[0].name(), Callers: stampedeCallers, Clients: stampedeClients}
		b.say("stampede: %d callers of %s over %d clients", s.Callers, s.Contestant, s.Clients)
		for range b.rounds {
			if err := s.round(ctx, clients); err != nil {
				return fmt.Errorf("stampede: %s: %w", s.Contestant, err)
			}
		}
		b.report.Stampede = append(b.report.Stampede, s)
	}
	b.report.Ratios["cache_stampede_loads"] = 0
	for _, loads := range b.report.Stampede[0].Loads {
		b.report.Ratios["cache_stampede_loads"] = max(b.report.Ratios["cache_stampede_loads"], float64(loads))
	}
	return clearRedis(ctx, redis)
}

// round lets all callers ask for a new key.
func (s *Stampede) round(ctx context.Context, clients []cacher) error {
	var (
		key   = newKey()
		loads atomic.Int64
		errs  = make(chan error, s.Callers)
		gate  = make(chan struct{})
		wait  sync.WaitGroup
	)
	load := func() string {
		loads.Add(1)
		time.Sleep(loadTime)
		return cacheValue
	}
	for i := range s.Callers {
		wait.Go(func() {
			<-gate
			if err := clients[i%len(clients)].fetch(ctx, key, load); err != nil {
				errs <- err
			}
		})
	}
	begin := time.Now()
	close(gate)
	wait.Wait()
	s.Time = append(s.Time, float64(time.Since(begin).Microseconds())/1e3)
	s.Loads = append(s.Loads, loads.Load())
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
