package tools

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// An HAProxy stands before the servers of a Patroni, and asks the agents for the leader.
type HAProxy struct {
	Primary int   // the port that leads to the leader
	Replica int   // the port that leads to the replicas in turn
	Each    []int // ports that lead to one server each

	box     *Box
	process *Process
}

const haproxyProgram = "/usr/sbin/haproxy"

// StartHAProxy returns when it reaches the leader.
func StartHAProxy(ctx context.Context, box *Box, p *Patroni) (*HAProxy, error) {
	h := &HAProxy{box: box, Each: make([]int, len(p.Members))}
	ports := []*int{&h.Primary, &h.Replica}
	for i := range h.Each {
		ports = append(ports, &h.Each[i])
	}
	for _, port := range ports {
		free, err := pgcluster.FreePort()
		if err != nil {
			return nil, err
		}
		*port = free
	}
	if err := box.Write("haproxy.cfg", h.configuration(p)); err != nil {
		return nil, err
	}
	return h, h.Start(ctx)
}

// configuration follows Patroni's documentation. A server that leaves its role loses the connections of that
// role.
func (h *HAProxy) configuration(p *Patroni) string {
	lines := []string{
		"global", "  maxconn 1000",
		"defaults", "  mode tcp", "  retries 0", "  timeout connect 1s", "  timeout check 1s",
		"  timeout client 30m", "  timeout server 30m",
	}
	listen := func(name string, port int, check string, members ...*Member) {
		lines = append(lines, "listen "+name, "  bind "+loopback(port), "  option httpchk GET "+check,
			"  http-check expect status 200",
			"  default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions")
		for _, m := range members {
			lines = append(lines,
				fmt.Sprintf("  server %s %s check port %d", m.Name, loopback(m.Port), m.REST))
		}
	}
	listen("primary", h.Primary, "/primary", p.Members...)
	listen("replica", h.Replica, "/replica", p.Members...)
	for i, m := range p.Members {
		listen(m.Name, h.Each[i], "/health", m)
	}
	return strings.Join(lines, "\n") + "\n"
}

// Start starts HAProxy for the first time or after Kill.
func (h *HAProxy) Start(ctx context.Context) (err error) {
	h.process, err = h.box.Start("haproxy", haproxyProgram, "-db", "-f", h.box.Path("haproxy.cfg"))
	if err != nil {
		return err
	}
	return poll(ctx, endTimeout, "HAProxy listens", func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", loopback(h.Primary))
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// Kill ends HAProxy by SIGKILL.
func (h *HAProxy) Kill() error { return h.process.Kill() }

// DSN leads to one of its ports.
func (h *HAProxy) DSN(port int) string {
	return "postgres://postgres@" + loopback(port) + "/postgres?sslmode=disable&connect_timeout=1"
}
