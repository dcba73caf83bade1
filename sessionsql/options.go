package sessionsql

import (
	"fmt"
	"log/slog"
	"time"

	bundle "github.com/sessionsql/postgres/sql"
)

// Options says how a [Store] behaves; nil is the same as the zero value. A negative interval turns that loop off.
type Options struct {
	// IdleTimeout is how long a session lives without being used. A session that is used at least that often never dies
	// early; an unused one dies between IdleTimeout and four thirds of it after its last use. OWASP ASVS 5.0, 7.3.1.
	//
	// Defaults to 30 minutes.
	IdleTimeout time.Duration

	// Lifetime is how long a session lives at most, however much it is used (absolute timeout). OWASP ASVS 5.0, 7.3.2.
	//
	// Defaults to none.
	Lifetime time.Duration

	// Timeout bounds every statement whose context has no nearer deadline, and Close. After it a call returns
	// ErrUnavailable. A replica gets less: what it does not answer at once is asked on the primary. Flush and Reap, which
	// may have much to do, get 30 seconds.
	//
	// Defaults to 5 seconds.
	Timeout time.Duration

	// MaxPayloadBytes is the largest payload that Insert and Update accept.
	//
	// Defaults to 1 MiB.
	MaxPayloadBytes int

	// MaxBatchBytes is how many bytes of payloads share a round trip: a large one holds up no others.
	//
	// Defaults to 1 MiB.
	MaxBatchBytes int

	// FlushInterval is how often the sessions that were looked up since are kept alive in the database, together. What a
	// crash of the program can lose is the keepalive of that time. Negative: only by Flush and Close.
	//
	// Defaults to 30 seconds, or a tenth of IdleTimeout where that is less.
	FlushInterval time.Duration

	// MaxPendingTouches bounds how many sessions wait to be kept alive, at some 40 bytes each. What comes when it is full,
	// which takes a primary that is away for long, is counted in [Stats] and otherwise dropped: such a session lives as long
	// as its last keepalive let it.
	//
	// Defaults to 1,000,000.
	MaxPendingTouches int

	// ReapInterval is how often expired rows are looked for. They are invisible in any case; this is about disk space.
	// Any number of Stores may run the loop: the database lets one reap at a time. Negative: only by Reap.
	//
	// Defaults to 10 seconds.
	ReapInterval time.Duration

	// MaxReplicaLag bounds how far a replica is behind that is read from, and with that how long after a logout another
	// program may still see the session, while the primary can be reached. While it cannot, replicas go on serving as
	// they are. Lag is measured once a second, or ten times in this time where that is more often.
	//
	// Defaults to 5 seconds.
	MaxReplicaLag time.Duration

	// Logger receives a line when something in the background changes for the worse, and one when it is well again: a
	// server that does not answer, keepalive or reaping that fails. A Store writes 18 lines a minute at most; where that
	// takes several changes together, the line says how many. No line holds a token or a payload.
	//
	// Defaults to slog.Default().
	Logger *slog.Logger
}

// withDefaults returns the options with every zero value replaced.
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

// maxTimeout is the largest idle timeout and lifetime.
var maxTimeout = time.Duration(bundle.MaxTimeoutSeconds) * time.Second

// checkTimeouts checks an idle timeout and a lifetime, where 0 means no lifetime.
func checkTimeouts(idle, lifetime time.Duration) error {
	switch {
	case idle < time.Millisecond || idle > maxTimeout:
		return fmt.Errorf("%w: idle timeout of %v; it must be between 1ms and 100 years", ErrOptions, idle)
	case lifetime != 0 && (lifetime < time.Millisecond || lifetime > maxTimeout):
		return fmt.Errorf("%w: lifetime of %v; it must be between 1ms and 100 years, or 0 for none", ErrOptions, lifetime)
	}
	return nil
}
