package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// maxLock bounds how long writers wait while the lock is asked for and held. After that the shards stay
	// as they are, and the next attempt comes after lockPause.
	maxLock     = 1200 * time.Millisecond
	lockPause   = 2 * time.Second
	maxAttempts = 100

	// pollInterval is the pause between two looks at a condition that the server does not announce.
	pollInterval = 10 * time.Millisecond
)

// A reshard divides each of the first half of shards into two.
type reshard struct {
	shards  []string // DSNs in the order of their numbers
	routers []string
	say     func(format string, values ...any) // tells each step before it begins
}

// run takes all steps that are due. It refuses to run beside another run, because each would undo the
// steps of the other.
func (r *reshard) run(ctx context.Context) error {
	pairs := make([]*pair, len(r.shards)/2)
	for i := range pairs {
		pairs[i] = &pair{
			reshard: r, shards: len(r.shards),
			from: primary{i, r.shards[i]}, to: primary{i + len(pairs), r.shards[i+len(pairs)]},
		}
	}
	for i, dsn := range r.shards {
		if _, err := routerOption(dsn); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
	}
	lock, err := pairs[0].from.lockOut(ctx)
	if err != nil {
		return err
	}
	defer closeNow(lock)
	r.say("checking %d shards and %d routers", len(r.shards), len(r.routers))
	if err := r.check(ctx, pairs); err != nil {
		return err
	}
	if err := each(ctx, pairs, (*pair).copy); err != nil {
		return err
	}
	if err := r.divide(ctx, pairs); err != nil {
		return err
	}
	for _, dsn := range r.routers {
		if err := r.route(ctx, dsn); err != nil {
			return err
		}
	}
	for _, p := range pairs {
		if err := p.clean(ctx); err != nil {
			return err
		}
	}
	r.say("done: there are %d shards", len(r.shards))
	return nil
}

// check refuses what could not be finished, and leaves everything as it is.
func (r *reshard) check(ctx context.Context, pairs []*pair) error {
	databases := map[string]int{}
	for _, p := range pairs {
		for _, shard := range []primary{p.from, p.to} {
			identity, err := shard.identity(ctx)
			if err != nil {
				return err
			}
			if other, found := databases[identity]; found {
				return fmt.Errorf("shards %d and %d are one database", other, shard.number)
			}
			databases[identity] = shard.number
		}
		if err := p.check(ctx); err != nil {
			return err
		}
	}
	for _, dsn := range r.routers {
		if err := r.checkRouter(ctx, dsn); err != nil {
			return err
		}
	}
	return nil
}

// divide moves the ownership of all pairs at once, because a router's map has a power of two of shards.
func (r *reshard) divide(ctx context.Context, pairs []*pair) error {
	var due []*pair
	for _, p := range pairs {
		state, err := p.state(ctx)
		if err != nil {
			return err
		}
		if state == whole {
			due = append(due, p)
		}
	}
	for attempt := 1; len(due) > 0; attempt++ {
		err := r.giveUp(ctx, due)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !errors.Is(err, errBusy) || attempt == maxAttempts {
			return err
		}
		r.say("attempt %d: %v; nothing has changed, and the next one comes in %v", attempt, err, lockPause)
		if err := each(ctx, due, (*pair).copy); err != nil {
			return err
		}
		if err := sleep(ctx, lockPause); err != nil {
			return err
		}
	}
	return each(ctx, pairs, (*pair).take)
}

// giveUp lets the old shards give up their upper halves. It returns errBusy if nothing has changed because
// writers would have waited for too long.
func (r *reshard) giveUp(ctx context.Context, pairs []*pair) error {
	defer func() {
		for _, p := range pairs {
			p.unlock()
		}
	}()
	if err := r.lock(ctx, pairs); err != nil {
		return err
	}
	// From here on, a stop of the program must not keep one from the commit that another has done.
	committing, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	return each(committing, pairs, (*pair).commit)
}

// lock returns when the old shards are locked and the new ones have everything.
func (r *reshard) lock(ctx context.Context, pairs []*pair) error {
	locked, cancel := context.WithTimeout(ctx, maxLock)
	defer cancel()
	begun := time.Now()
	r.say("locking %d shards for %v at most", len(pairs), maxLock)
	err := each(locked, pairs, (*pair).lock)
	if err == nil {
		err = each(locked, pairs, (*pair).stopCopy)
	}
	if err == nil {
		r.say("giving up the upper halves, %d ms after the lock was begun", time.Since(begun).Milliseconds())
	}
	if locked.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w for longer than %v", errBusy, maxLock)
	}
	return err
}

// each does something for all pairs at once. An error cancels the others.
func each(ctx context.Context, pairs []*pair, do func(p *pair, ctx context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range pairs {
		group.Go(func() error { return do(p, ctx) })
	}
	return group.Wait()
}

func sleep(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}

// until waits for a condition.
func until(ctx context.Context, condition func() (bool, error)) error {
	for {
		if met, err := condition(); met || err != nil {
			return err
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}
