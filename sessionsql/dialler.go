package sessionsql

import (
	"context"
	"database/sql/driver"
)

// A dialler goes on connecting when its caller leaves, and keeps the connection for the next caller. A host
// that hangs may take longer than any caller's deadline, and then no caller would reach the second host.
type dialler struct {
	driver.Connector
	dialling chan struct{} // bounds the connections that are being made
	spare    chan driver.Conn
	closed   chan struct{}
}

type dialled struct {
	conn driver.Conn
	err  error
}

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
		conn, err := d.Connector.Connect(context.WithoutCancel(ctx))
		done <- dialled{conn, err}
	}()
	select {
	case got := <-done:
		return got.conn, got.err
	case <-ctx.Done():
		go d.keep(done)
		return nil, ctx.Err()
	}
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
