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

// screen is stderr: lines that stay, and below them one that is written over while the load runs. Where
// stderr is no terminal, all lines stay.
type screen struct {
	out      io.Writer
	terminal bool

	mu        sync.Mutex
	open      bool         // the last line is to be written over
	deadlocks atomic.Int64 // that the store met in the background
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

// progress writes over the last progress.
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

// endProgress takes the progress away, for what comes on stdout.
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

// logger is for what the store and the server report in the background.
func (s *screen) logger() *slog.Logger { return slog.New(logHandler{screen: s}) }

// logHandler shows records, and counts the deadlocks among them: a failed keepalive is tried again and
// reaches no caller.
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
