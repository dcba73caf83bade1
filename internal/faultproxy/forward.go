package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// serve connects a client to the target and forwards until both directions have ended.
func (p *Proxy) serve(client *net.TCPConn) {
	defer p.remove(client)
	p.flow()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	var dialer net.Dialer
	conn, err := dialer.DialContext(p.ctx, "tcp", target)
	if err != nil {
		reset(client)
		return
	}
	server := conn.(*net.TCPConn)
	if !p.add(server) {
		reset(client)
		return
	}
	defer p.remove(server)
	var answers sync.WaitGroup
	answers.Go(func() { p.forward(client, server) })
	p.forward(server, client)
	answers.Wait()
}

// forward copies one direction. It passes on an orderly end, and resets both sides after a failure.
func (p *Proxy) forward(to, from *net.TCPConn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		for rest := buffer[:n]; len(rest) > 0; {
			size, delay := p.flow()
			if size <= 0 || size > len(rest) {
				size = len(rest)
			}
			if _, failed := to.Write(rest[:size]); failed != nil {
				err = failed
				break
			}
			rest = rest[size:]
			p.pause(delay)
		}
		if err == nil {
			continue
		}
		p.flow()
		if errors.Is(err, io.EOF) {
			_ = to.CloseWrite()
		} else {
			reset(to)
			reset(from)
		}
		return
	}
}

// flow waits while the proxy is frozen, and returns the bytes per write and the delay after each.
func (p *Proxy) flow() (slice int, delay time.Duration) {
	for {
		p.mu.Lock()
		frozen, changed := p.mode == freeze, p.changed
		slice, delay = p.slice, p.delay
		p.mu.Unlock()
		if !frozen {
			return slice, delay
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
			return slice, delay
		}
	}
}

func (p *Proxy) pause(delay time.Duration) {
	if delay <= 0 {
		return
	}
	select {
	case <-time.After(delay):
	case <-p.ctx.Done():
	}
}
