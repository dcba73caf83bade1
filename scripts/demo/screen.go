package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

// A screen is stderr. On a terminal, a progress line below the permanent lines is overwritten while the load
// runs; elsewhere all lines stay.
type screen struct {
	out      io.Writer
	terminal bool

	mu        sync.Mutex
	open      bool         // the last line will be overwritten
	deadlocks atomic.Int64 // deadlocks that the Store met in the background
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

const eraseLine = "\r\x1b[K"

func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// progress overwrites the last progress line.
func (s *screen) progress(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal {
		fmt.Fprintln(s.out, line)
		return
	}
	s.erase()
	fmt.Fprint(s.out, line)
	s.open = true
}

// endProgress removes the progress line before output on stdout.
func (s *screen) endProgress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
}

func (s *screen) erase() {
	if s.open {
		fmt.Fprint(s.out, eraseLine)
		s.open = false
	}
}

// logger returns a logger for the background reports of the Store and the server.
func (s *screen) logger() *slog.Logger { return slog.New(logHandler{screen: s}) }

// A logHandler shows records and counts the deadlocks in them, because a failed keepalive reaches no caller.
type logHandler struct {
	screen     *screen
	attributes []slog.Attr
}

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (h logHandler) Handle(_ context.Context, record slog.Record) error {
	line := record.Message
	show := func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && isDeadlock(err) {
			h.screen.deadlocks.Add(1)
		}
		line += " " + a.String()
		return true
	}
	for _, a := range h.attributes {
		show(a)
	}
	record.Attrs(show)
	h.screen.say("%s: %s", record.Level, line)
	return nil
}

func (h logHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	h.attributes = append(h.attributes[:len(h.attributes):len(h.attributes)], attributes...)
	return h
}

func (h logHandler) WithGroup(string) slog.Handler { return h }
