package sessionsql

import (
	"fmt"
	"log/slog"
	"time"
)

// Options says how a [Store] behaves; nil is the zero value. A negative interval turns that loop off.
type Options struct {
	// IdleTimeout is how long a session lives without use. A session that is used at least that often never
	// expires early; an unused one expires between IdleTimeout and four thirds of it after its last use.
	// OWASP ASVS 5.0, 7.3.1. Defaults to 30 minutes.
	IdleTimeout time.Duration

	// Lifetime is the absolute timeout: no session lives longer, however much it is used. OWASP ASVS 5.0,
	// 7.3.2. Defaults to none.
	Lifetime time.Duration

	// Timeout bounds Close, and every statement whose context has no nearer deadline. After it a call returns
	// ErrUnavailable. A replica has less time, because the primary answers the lookups that it leaves
	// unanswered. Flush and Reap have 30 seconds, because they may have much to do. Defaults to 5 seconds.
	Timeout time.Duration

	// MaxPayloadBytes is the largest payload that Insert and Update accept. Defaults to 1 MiB.
	MaxPayloadBytes int

	// MaxBatchBytes bounds the payloads that share a round trip, because a large one delays
	// the others. Defaults to 1 MiB.
	MaxBatchBytes int

	// FlushInterval is how often the Store sends the touches of the sessions that were looked up. A crash of
	// the program can lose the touches of that time. If it is negative, only Flush and Close send them.
	// Defaults to 30 seconds, or to a tenth of IdleTimeout if that is less.
	FlushInterval time.Duration

	// MaxPendingTouches bounds how many touches wait for a flush, at some 40 bytes each. When the buffer is
	// full, which takes a long outage, further touches are dropped and counted in Stats.TouchesDropped. Such
	// a session keeps the expiry that its last touch gave it. Defaults to 1,000,000.
	MaxPendingTouches int

	// ReapInterval is how often the Store deletes expired rows. Nobody sees an expired session in any case;
	// reaping frees disk space. Any number of Stores may run the loop, because the database lets one reap at
	// a time. If it is negative, only Reap deletes rows. Defaults to 10 seconds.
	ReapInterval time.Duration

	// MaxReplicaLag is the largest replica lag at which lookups read from a replica. So it also bounds how
	// long another program may see a session after its logout. The bound holds while the Store can reach the
	// primary; during an outage replicas go on serving. The Store measures the lag once a second, or ten
	// times in MaxReplicaLag if that is more often. Defaults to 5 seconds.
	MaxReplicaLag time.Duration

	// NearCache keeps sessions in memory, so that lookups need no server. Defaults to none.
	NearCache NearCache

	// Logger receives a line when a server stops answering or background work fails, and another when it
	// works again. A Store writes 18 lines a minute at most; a line that stands for several changes says how
	// many. No line holds a token or a payload. Defaults to slog.Default().
	Logger *slog.Logger
}

// withDefaults returns a copy in which a default replaces every zero value.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	c.IdleTimeout = orDefault(c.IdleTimeout, 30*time.Minute)
	c.Timeout = orDefault(c.Timeout, 5*time.Second)
	c.MaxBatchBytes = orDefault(c.MaxBatchBytes, 1<<20)
	c.MaxPayloadBytes = orDefault(c.MaxPayloadBytes, 1<<20)
	c.FlushInterval = orDefault(c.FlushInterval, min(30*time.Second, c.IdleTimeout/10))
	c.MaxPendingTouches = orDefault(c.MaxPendingTouches, 1_000_000)
	c.ReapInterval = orDefault(c.ReapInterval, 10*time.Second)
	c.MaxReplicaLag = orDefault(c.MaxReplicaLag, 5*time.Second)
	c.NearCache.MaxStaleness = orDefault(c.NearCache.MaxStaleness, time.Second)
	c.Logger = orDefault(c.Logger, slog.Default())
	if err := checkTimeouts(c.IdleTimeout, c.Lifetime); err != nil {
		return c, err
	}
	switch {
	case c.Timeout < 0:
		return c, fmt.Errorf("%w: Timeout is negative", ErrOptions)
	case c.MaxBatchBytes < 0:
		return c, fmt.Errorf("%w: MaxBatchBytes is negative", ErrOptions)
	case c.MaxPayloadBytes < 0:
		return c, fmt.Errorf("%w: MaxPayloadBytes is negative", ErrOptions)
	case c.MaxPendingTouches < 0:
		return c, fmt.Errorf("%w: MaxPendingTouches is negative", ErrOptions)
	case c.MaxReplicaLag < 0:
		return c, fmt.Errorf("%w: MaxReplicaLag is negative", ErrOptions)
	case c.NearCache.MaxBytes < 0:
		return c, fmt.Errorf("%w: NearCache.MaxBytes is negative", ErrOptions)
	case c.NearCache.MaxStaleness < minStaleness:
		return c, fmt.Errorf("%w: NearCache.MaxStaleness is less than %v", ErrOptions, minStaleness)
	}
	return c, nil
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
