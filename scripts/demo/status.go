package main

import (
	"context"
	_ "embed" // it embeds the page
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

//go:embed status.html
var statusPage []byte

// status is the content of /status. Times are in milliseconds since 1970, durations in seconds.
type status struct {
	Now        int64           `json:"now"`
	Left       float64         `json:"left"` // until the demo ends; negative if it does not
	Requests   int64           `json:"requests"`
	Errors     int64           `json:"errors"`
	Wrong      int64           `json:"wrong"`
	Samples    []sample        `json:"samples"`
	Primary    string          `json:"primary"` // empty if none answers
	PrimaryFor float64         `json:"primary_for"`
	Servers    []serverStatus  `json:"servers"`
	Keepalives keepaliveStatus `json:"keepalives"`
	Reaper     reaperStatus    `json:"reaper"`
	Crash      *crashStatus    `json:"crash,omitempty"`
}

// A sample covers one second.
type sample struct {
	At       int64   `json:"at"`
	Requests float64 `json:"requests"` // in a second
	Errors   float64 `json:"errors"`
	Pending  int64   `json:"pending"` // sessions that wait for their keepalive
}

type serverStatus struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Class  string `json:"class"` // it selects the colour
}

type keepaliveStatus struct {
	Pending int64 `json:"pending"`
	Written int64 `json:"written"`
	Dropped int64 `json:"dropped"`
	Errors  int64 `json:"errors"`
}

// A reaperStatus is the position of the reaper's hand and the result of its last call.
type reaperStatus struct {
	Page       int64 `json:"page"`
	Pages      int64 `json:"pages"`
	LastPages  int64 `json:"last_pages"`
	LastReaped int64 `json:"last_reaped"`
	Reaped     int64 `json:"reaped"`
}

type crashStatus struct {
	Begun int64 `json:"begun"`
	Over  int64 `json:"over,omitempty"`
}

// handler serves the page and the data that it polls.
func (m *monitor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// The page loads nothing from elsewhere.
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'")
		_, _ = w.Write(statusPage) // because a visitor who has left does not need it
	})
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(m.status())
	})
	return mux
}

// status returns the current state without asking a server.
func (m *monitor) status() status {
	now, stats := time.Now(), m.database.store.Stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := status{
		Now:        now.UnixMilli(),
		Left:       -1,
		Requests:   m.site.requests.Load(),
		Errors:     m.site.errors.Load(),
		Samples:    append([]sample{}, m.samples...),
		Primary:    m.primary,
		PrimaryFor: now.Sub(m.primarySince).Seconds(),
		Servers:    m.servers(stats),
		Keepalives: keepaliveStatus{
			Pending: stats.TouchesPending, Written: stats.SessionsExtended,
			Dropped: stats.TouchesDropped, Errors: stats.FlushErrors,
		},
		Reaper: m.reaper,
	}
	s.Reaper.Reaped = stats.Reaped
	if t := m.tally; t != nil {
		s.Left = max(m.ends.Sub(now).Seconds(), 0)
		s.Wrong, _ = t.faults()
		if crash := t.crash.now(); !crash.begun.IsZero() {
			s.Crash = &crashStatus{Begun: crash.begun.UnixMilli()}
			if !crash.over.IsZero() {
				s.Crash.Over = crash.over.UnixMilli()
			}
		}
	}
	return s
}

// servers lists the first primary and then the replicas. The servers tell which one is the primary now, and
// the Store tells the state of the replicas.
func (m *monitor) servers(stats sessionsql.Stats) []serverStatus {
	list := make([]serverStatus, 0, 1+len(stats.Replicas))
	for i, name := range m.database.names() {
		s := serverStatus{Name: name}
		switch {
		case !m.database.runs(i):
			s.State, s.Class = "killed", "killed-server"
		case name == m.primary:
			s.State, s.Class = "primary", "primary"
		case i == 0:
			s.State = "does not answer"
		default:
			s.replica(stats.Replicas[i-1])
		}
		list = append(list, s)
	}
	return list
}

func (s *serverStatus) replica(seen sessionsql.ServerStats) {
	s.State = "replica, left out"
	if seen.Usable {
		s.State, s.Class = "replica, read from", "serving"
		s.Detail = "lag " + seen.Lag.Round(time.Millisecond).String()
		return
	}
	if seen.Err != nil {
		s.Detail = strings.TrimPrefix(seen.Err.Error(), "sessionsql: ")
	}
}

// look asks the primary for its port and the reaper's progress.
func (m *monitor) look(ctx context.Context) (port int, reaper reaperStatus, err error) {
	const query = `SELECT current_setting('port')::integer, r.next_page, r.pages, r.reaped,
  pg_relation_size('sessionsql.session') / current_setting('block_size')::bigint
FROM sessionsql.reaper AS r`
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	err = m.database.pool.QueryRowContext(ctx, query).
		Scan(&port, &reaper.Page, &reaper.LastPages, &reaper.LastReaped, &reaper.Pages)
	return port, reaper, err
}
