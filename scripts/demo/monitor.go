package main

import (
	"context"
	"sync"
	"time"
)

const (
	sampleInterval = time.Second
	maxSamples     = 60
	lookTimeout    = 2 * time.Second
)

// A monitor gathers the content of /status. It counts once a second and asks the primary.
type monitor struct {
	site     *site
	database *database

	mu           sync.Mutex
	samples      []sample // the latest samples, the oldest first
	primary      string   // empty if none answers
	primarySince time.Time
	reaper       reaperStatus
	tally        *tally // of the load; nil without one
	ends         time.Time
}

func newMonitor(site *site, database *database) *monitor {
	return &monitor{site: site, database: database, primarySince: time.Now()}
}

// watchLoad adds the users' findings and the end of the demo.
func (m *monitor) watchLoad(t *tally, ends time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tally, m.ends = t, ends
}

// run samples until ctx ends.
func (m *monitor) run(ctx context.Context) {
	last, requests, errors := time.Now(), int64(0), int64(0)
	for {
		port, reaper, err := m.look(ctx)
		name := ""
		if err == nil {
			name = m.database.nameAt(port)
		}
		m.note(name, reaper)
		if !rest(ctx, sampleInterval) {
			return
		}
		now, requestsNow, errorsNow := time.Now(), m.site.requests.Load(), m.site.errors.Load()
		seconds := now.Sub(last).Seconds()
		m.add(sample{
			At:       now.UnixMilli(),
			Requests: float64(requestsNow-requests) / seconds,
			Errors:   float64(errorsNow-errors) / seconds,
			Pending:  m.database.store.Stats().TouchesPending,
		})
		last, requests, errors = now, requestsNow, errorsNow
	}
}

// note keeps the name of the answering primary. The hand keeps its position while no primary answers.
func (m *monitor) note(primary string, reaper reaperStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if primary != m.primary {
		m.primary, m.primarySince = primary, time.Now()
	}
	if primary != "" {
		m.reaper = reaper
	}
}

func (m *monitor) add(s sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.samples = append(m.samples, s)
	m.samples = m.samples[max(len(m.samples)-maxSamples, 0):]
}
