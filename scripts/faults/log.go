package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// A stateLog keeps the log lines of a group's Stores, each of which should tell a change of state.
type stateLog struct {
	history *history
	shown   slog.Handler

	mu    sync.Mutex
	lines []line
	last  map[string]string // by Store and topic
}

// A line is one line of a Store's log.
type line struct {
	at    int64
	store int

	repeats bool // the Store's last line about the same topic was the same
}

func newStateLog(h *history, to io.Writer) *stateLog {
	return &stateLog{history: h, shown: slog.NewTextHandler(to, nil), last: map[string]string{}}
}

func (l *stateLog) logger(store int) *slog.Logger {
	return slog.New(&lineHandler{l.shown.WithAttrs([]slog.Attr{slog.Int("store", store)}), l, store})
}

// most returns the number of lines of the Store that logged most in a span of time.
func (l *stateLog) most(span interval) (most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines [storeCount]int
	for _, one := range l.lines {
		if span.from <= one.at && one.at < span.to {
			lines[one.store]++
			most = max(most, lines[one.store])
		}
	}
	return most
}

// counts returns the number of lines, and of those that repeat the line before.
func (l *stateLog) counts() (lines, repeated int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.lines {
		if one.repeats {
			repeated++
		}
	}
	return len(l.lines), repeated
}

// add notes a line about a server, or about the topic of its first words.
func (l *stateLog) add(store int, server, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	topic := server
	if topic == "" {
		topic = strings.Join(strings.Fields(message)[:2], " ")
	}
	key := fmt.Sprint(store, topic)
	repeats := l.last[key] == message
	l.last[key] = message
	l.lines = append(l.lines, line{l.history.now(), store, repeats})
}

// A lineHandler notes each record and passes it on.
type lineHandler struct {
	slog.Handler
	log   *stateLog
	store int
}

// Handle implements [slog.Handler].
func (h *lineHandler) Handle(ctx context.Context, r slog.Record) error {
	server := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "node" {
			server = a.Value.String()
		}
		return true
	})
	h.log.add(h.store, server, r.Message)
	return h.Handler.Handle(ctx, r)
}
