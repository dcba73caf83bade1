package sessionsql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// hostPatience is how long a host of a DSN may take to answer before the next one is tried as well.
const hostPatience = 250 * time.Millisecond

// A dialler connects to a server. It goes on connecting when its caller leaves, and keeps the connection for
// the next caller. A host that hangs may take longer than any caller's deadline, and then no caller would
// reach the second host.
type dialler struct {
	hosts    []*dialledHost
	dialling chan struct{} // bounds the callers that wait for hosts
	spare    chan driver.Conn
	closed   chan struct{}
}

// A dialledHost is one host of a DSN.
type dialledHost struct {
	driver.Connector
	address string
	hanging atomic.Int32 // connections under way that have taken longer than hostPatience
}

type dialled struct {
	conn driver.Conn
	err  error
	from *dialledHost
	took time.Duration
}

// newDialler makes a dialler to the hosts of a DSN, each with a configuration of its own.
func newDialler(hosts []*pgx.ConnConfig, connections int) *dialler {
	d := &dialler{
		dialling: make(chan struct{}, connections),
		spare:    make(chan driver.Conn, connections),
		closed:   make(chan struct{}),
	}
	for _, config := range hosts {
		address := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
		d.hosts = append(d.hosts, &dialledHost{Connector: stdlib.GetConnector(*config), address: address})
	}
	return d
}

func (d *dialler) Driver() driver.Driver { return d.hosts[0].Driver() }

func (d *dialler) Connect(ctx context.Context) (driver.Conn, error) {
	for {
		select {
		case conn := <-d.spare:
			if conn.(driver.Pinger).Ping(ctx) == nil { // because it may have waited for long
				return conn, nil
			}
			_ = conn.Close()
			continue
		case d.dialling <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		break
	}
	done := make(chan dialled, 1)
	go func() {
		defer func() { <-d.dialling }()
		done <- d.dialHosts(context.WithoutCancel(ctx))
	}()
	select {
	case got := <-done:
		return got.conn, got.err
	case <-ctx.Done():
		go d.keep(done)
		return nil, ctx.Err()
	}
}

// dialHosts tries the hosts in their order. A host that hangs goes on alone, and later calls pass it over
// until it has answered. So the server that is promoted in its place is found at once, and not only after
// the connect_timeout of the host.
func (d *dialler) dialHosts(ctx context.Context) dialled {
	var tried []*dialledHost
	var refusals []error
	for _, h := range d.hosts {
		if h.hanging.Load() == 0 {
			tried = append(tried, h)
		} else {
			refusals = append(refusals, fmt.Errorf("sessionsql: %s has not answered yet", h.address))
		}
	}
	if len(tried) == 0 {
		tried, refusals = d.hosts, nil
	}
	answers := make(chan dialled, len(tried))
	open := 0
	defer func() {
		for range open {
			go d.keep(answers)
		}
	}()
	var enough <-chan time.Time
	refused := func(got dialled) bool {
		open--
		if got.err != nil {
			refusals = append(refusals, got.err)
			enough = time.After(2 * got.took) // because all hosts may be far away
		}
		return got.err != nil
	}
	for _, h := range tried {
		open++
		go h.dial(ctx, answers)
		patience := time.After(hostPatience)
		for waits := true; waits; {
			select {
			case got := <-answers:
				if !refused(got) {
					return got
				}
				waits = got.from != h
			case <-patience:
				waits = false
			}
		}
	}
	for waits := true; waits && open > 0; {
		select {
		case got := <-answers:
			if !refused(got) {
				return got
			}
		case <-enough:
			waits = false
		}
	}
	return dialled{err: errors.Join(refusals...)}
}

func (h *dialledHost) dial(ctx context.Context, answers chan<- dialled) {
	begun := time.Now()
	slow := time.AfterFunc(hostPatience, func() { h.hanging.Add(1) })
	conn, err := h.Connect(ctx)
	if !slow.Stop() {
		h.hanging.Add(-1)
	}
	answers <- dialled{conn, err, h, time.Since(begun)}
}

// keep puts a connection whose caller has left among the spare ones.
func (d *dialler) keep(done <-chan dialled) {
	got := <-done
	if got.err != nil {
		return
	}
	select {
	case d.spare <- got.conn:
	default:
		_ = got.conn.Close()
	}
	select {
	case <-d.closed:
		d.closeSpare()
	default:
	}
}

func (d *dialler) closeSpare() {
	for {
		select {
		case conn := <-d.spare:
			_ = conn.Close()
		default:
			return
		}
	}
}

// Close implements [io.Closer]; database/sql calls it when the pool is closed.
func (d *dialler) Close() error {
	close(d.closed)
	d.closeSpare()
	return nil
}
