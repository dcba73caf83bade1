package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// A stateLog takes what the Stores of a group log: a line for each change of state, as they promise.
type stateLog struct {
	history *history
	shown   slog.Handler

	mu    sync.Mutex
	lines []line
	last  map[string]string // by Store and what the line is about
}

// A line is one that a Store logged.
type line struct {
	at    int64
	store int

	repeats bool // the last one of the same Store about the same thing
}

func newStateLog(h *history, to io.Writer) *stateLog {
	return &stateLog{history: h, shown: slog.NewTextHandler(to, nil), last: map[string]string{}}
}

func (l *stateLog) logger(store int) *slog.Logger {
	return slog.New(&lineHandler{l.shown.WithAttrs([]slog.Attr{slog.Int("store", store)}), l, store})
}

// most returns how many lines the most talkative Store logged in a span of time.
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

// counts returns how many lines there are, and how many of them say no more than the one before.
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

// add notes a line about a server, or about what its first words name.
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
