package faultproxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

type mode int

const (
	pass mode = iota
	freeze
	refuse
)

// A Proxy forwards connections to a target. Its methods are safe for concurrent use.
type Proxy struct {
	listener net.Listener
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex
	target  string
	mode    mode
	slice   int           // bytes per write, 0 for all at once
	delay   time.Duration // after each write
	changed chan struct{} // closed at the next change of the mode
	open    map[*net.TCPConn]struct{}
}

// New starts a proxy on a free port of 127.0.0.1. At first it passes everything.
func New(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		listener: listener,
		target:   target,
		changed:  make(chan struct{}),
		open:     map[*net.TCPConn]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns the host and port that clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget sets the host and port that later connections go to. Open connections keep their server.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Pass forwards everything at once, also the bytes that Freeze held back.
func (p *Proxy) Pass() { p.set(pass, 0, 0) }

// Freeze forwards nothing, not even the end of a connection. New connections are accepted and get no answer.
func (p *Proxy) Freeze() { p.set(freeze, 0, 0) }

// Refuse resets the open connections, and each new one when it is accepted.
func (p *Proxy) Refuse() {
	p.set(refuse, 0, 0)
	p.Reset()
}

// Slow forwards at most bytes per write and waits for delay after each write.
func (p *Proxy) Slow(bytes int, delay time.Duration) { p.set(pass, bytes, delay) }

func (p *Proxy) set(m mode, slice int, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.slice, p.delay = m, slice, delay
	close(p.changed)
	p.changed = make(chan struct{})
}

// Reset ends every open connection with a TCP reset, on both sides. New connections are served.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		reset(conn)
	}
}

func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// Close resets every connection, closes the listener and returns when no goroutine of the proxy runs.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.cancel()
	p.Reset()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		client := conn.(*net.TCPConn)
		if p.add(client) {
			p.running.Go(func() { p.serve(client) })
		}
	}
}

// add registers a connection, unless the proxy refuses connections or is closed.
func (p *Proxy) add(conn *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == refuse || p.ctx.Err() != nil {
		reset(conn)
		return false
	}
	p.open[conn] = struct{}{}
	return true
}

func (p *Proxy) remove(conn *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
	_ = conn.Close()
}
