package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/sessionsql/postgres/internal/faultproxy"
	"github.com/sessionsql/postgres/sessionsql"
)

// A Staleness is how long sessions were served after their logout in another program had returned.
type Staleness struct {
	Contestant string    `json:"contestant"`
	Dropped    bool      `json:"packets_dropped"` // to its server, when the sessions ended
	Seconds    []float64 `json:"seconds"`         // of each session, in ascending order
}

// A nearProgram keeps sessions in memory, while another program ends them. Its server is behind a proxy.
type nearProgram struct {
	name  string
	proxy *faultproxy.Proxy
	bound time.Duration // no session should be served longer when packets are dropped

	find  func(ctx context.Context, slot int) error
	end   func(ctx context.Context, slot int) error // in the other program
	close func()
}

// stalePauses divides the bound into the pauses between two lookups of an ended session.
const stalePauses = 200

// nearStaleness ends sessions and looks at how long they are served after that, with the network up and with
// every packet dropped.
func (b *bench) nearStaleness(ctx context.Context, d *database) error {
	for _, open := range []func(context.Context, *database) (*nearProgram, error){
		b.openNearStore, b.openNearRueidis,
	} {
		p, err := open(ctx, d)
		if err != nil {
			return err
		}
		err = b.programStaleness(ctx, p)
		p.close()
		if err != nil {
			return fmt.Errorf("near: staleness of %s: %w", p.name, err)
		}
	}
	worst := (b.nearBound / stalePauses).Seconds() // because nothing shorter is seen
	for _, each := range b.report.Staleness {
		if isOurs(each.Contestant) {
			worst = max(worst, slices.Max(each.Seconds))
		}
	}
	b.report.Ratios["near_staleness_max_s"] = worst
	return nil
}

func (b *bench) programStaleness(ctx context.Context, p *nearProgram) error {
	inRound := max(b.nearLogouts/b.rounds, 1)
	slot := 0
	for _, dropped := range []bool{false, true} {
		s := Staleness{Contestant: p.name, Dropped: dropped}
		b.say("near: staleness of %s, packets dropped: %v", p.name, dropped)
		for range b.rounds {
			seconds, err := p.round(ctx, b.nearBound, dropped, slot, slot+inRound)
			if err != nil {
				return err
			}
			s.Seconds = append(s.Seconds, seconds...)
			slot += inRound
		}
		slices.Sort(s.Seconds)
		b.report.Staleness = append(b.report.Staleness, s)
	}
	return nil
}

// round ends sessions at any time within a staleness bound, and returns for each how long it was served.
func (p *nearProgram) round(
	ctx context.Context, spread time.Duration, dropped bool, from, to int,
) ([]float64, error) {
	if err := p.await(ctx, from, to); err != nil {
		return nil, err
	}
	window := spread
	if dropped {
		p.proxy.Freeze()
		defer p.proxy.Pass()
		window = p.bound
	}
	seconds, errs := make([]float64, to-from), make([]error, to-from)
	var wait sync.WaitGroup
	for i := range seconds {
		wait.Go(func() {
			time.Sleep(rand.N(spread))
			if errs[i] = p.end(ctx, from+i); errs[i] != nil {
				return
			}
			seconds[i] = p.served(ctx, from+i, window*3/2, spread/stalePauses).Seconds()
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return seconds, ctx.Err()
}

// served looks a session up for a while, and returns when the last lookup began that found it.
func (p *nearProgram) served(
	ctx context.Context, slot int, window, pause time.Duration,
) (last time.Duration) {
	begin := time.Now()
	for at := time.Duration(0); at < window && ctx.Err() == nil; at = time.Since(begin) {
		if p.findWithin(ctx, slot, 20*pause) == nil {
			last = at
		}
		time.Sleep(pause)
	}
	return last
}

// findWithin bounds the lookups that wait for a server behind the proxy.
func (p *nearProgram) findWithin(ctx context.Context, slot int, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return p.find(ctx, slot)
}

// await waits until the program finds all sessions again, as after a time without packets.
func (p *nearProgram) await(ctx context.Context, from, to int) error {
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for slot := from; slot < to; {
		err := p.findWithin(ctx, slot, time.Second)
		switch {
		case err == nil:
			slot++
		case ctx.Err() != nil:
			return err
		default:
			time.Sleep(time.Millisecond) // because a client without a connection fails at once
		}
	}
	return nil
}

func (b *bench) openNearStore(ctx context.Context, d *database) (*nearProgram, error) {
	proxy, err := faultproxy.New(b.servers.cluster.Primary.Address())
	if err != nil {
		return nil, err
	}
	dsn, err := url.Parse(d.dsn)
	if err != nil {
		return nil, err
	}
	dsn.Host = proxy.Addr()
	options := *quiet
	options.NearCache = sessionsql.NearCache{MaxBytes: ampleBytes, MaxStaleness: b.nearBound}
	options.Logger = slog.New(slog.DiscardHandler) // because it would report each time without packets
	store, err := sessionsql.Open(ctx, dsn.String(), nil, &options)
	if err != nil {
		return nil, err
	}
	other, err := d.openStore(ctx, quiet)
	if err != nil {
		return nil, err
	}
	tokens := seededTokens(b.lookupRows)
	return &nearProgram{
		name: "sessionsql", proxy: proxy, bound: b.nearBound,
		find: func(ctx context.Context, slot int) error {
			_, err := store.Lookup(ctx, tokens[slot])
			return err
		},
		end: func(ctx context.Context, slot int) error { return other.Revoke(ctx, tokens[slot]) },
		close: func() {
			_ = store.Close(context.Background())
			_ = other.Close(context.Background())
			_ = proxy.Close()
		},
	}, nil
}

// openNearRueidis gives rueidis its default times if the bound is a second.
func (b *bench) openNearRueidis(ctx context.Context, _ *database) (*nearProgram, error) {
	proxy, err := faultproxy.New(b.servers.redis.address)
	if err != nil {
		return nil, err
	}
	near, err := openRueidisNear(proxy.Addr(), b.servers.redis, ampleBytes, b.nearBound)
	if err != nil {
		return nil, err
	}
	other, err := openRueidis(b.servers.redis)
	if err != nil {
		return nil, err
	}
	if err := near.seed(ctx, b.lookupRows); err != nil {
		return nil, err
	}
	const keepAlives = 11 // one until rueidis asks the server, and ten until it gives the answer up
	return &nearProgram{
		name: near.name(), proxy: proxy, bound: keepAlives * b.nearBound,
		find: near.lookup,
		end: func(ctx context.Context, slot int) error {
			return other.client.Do(ctx, other.client.B().Del().Key(keyPrefix+near.keys[slot]).Build()).Error()
		},
		close: func() {
			near.close()
			other.close()
			_ = proxy.Close()
		},
	}, nil
}
