package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A reader is the program that the near mode's faults befall: a Store with a near cache that looks sessions
// up all the time. It runs as a process of its own, because one of the faults stops it and one sets its
// clock.
//
// It reads a line for each session, which is the token. The line "clock" asks for the time since the reader
// began, and "step N" sets the wall clock N seconds forward from the true time. At the end of its input it
// writes the last begin of each kind of lookup that succeeded, and ends.
type reader struct {
	began time.Time
	store *store

	mu      sync.Mutex
	tokens  []string
	last    map[answer]time.Duration // the begin of the last lookup with this answer
	lookups int
	hits    int
}

// An answer is what a lookup found.
type answer struct {
	session  int // counted from 0 in the order of the input
	version  int32
	recalled bool // from memory
}

const roleReader = "reader"

// beReader runs a reader to its end. The arguments are the data source names, of the primary first.
func beReader(dsns []string) error {
	ctx := context.Background()
	s, err := openStore(ctx, dsns[0], dsns[1:], false, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	r := &reader{began: time.Now(), store: s, last: map[answer]time.Duration{}}
	stop := make(chan struct{})
	var looking sync.WaitGroup
	const callers = 8
	for range callers {
		looking.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					r.look()
				}
			}
		})
	}
	err = r.obey(os.Stdin, os.Stdout)
	close(stop)
	looking.Wait()
	if err != nil {
		return err
	}
	r.print(os.Stdout)
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	_ = s.Close(ctx) // its servers may have hung before
	return nil
}

// obey follows the lines of the input.
func (r *reader) obey(from io.Reader, to io.Writer) error {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		command, argument, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "clock":
			fmt.Fprintln(to, int64(time.Since(r.began)))
		case "step":
			seconds, err := strconv.Atoi(argument)
			if err != nil {
				return err
			}
			stepClock(int64(seconds))
		default:
			r.mu.Lock()
			r.tokens = append(r.tokens, command)
			r.mu.Unlock()
		}
	}
	return lines.Err()
}

// look looks one session up, in memory first. Some of the latest sessions are alive, and the further back
// they are, the more of them have ended.
func (r *reader) look() {
	r.mu.Lock()
	if len(r.tokens) == 0 {
		r.mu.Unlock()
		return
	}
	latest := []int{liveSessions, 4 * liveSessions, 32 * liveSessions}[rand.IntN(3)]
	n := len(r.tokens) - 1 - rand.IntN(min(len(r.tokens), latest))
	token := r.tokens[n]
	r.mu.Unlock()

	begun := time.Since(r.began)
	_, version, err := r.store.Recall(token)
	recalled := err == nil
	if !recalled {
		begun = time.Since(r.began)
		ctx, cancel := context.WithTimeout(context.Background(), callDeadline)
		_, version, err = r.store.Lookup(ctx, token)
		cancel()
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookups++
	if recalled {
		r.hits++
	}
	if err == nil {
		found := answer{n, version, recalled}
		r.last[found] = max(r.last[found], begun)
	}
}

func (r *reader) print(to io.Writer) {
	out := bufio.NewWriter(to)
	for found, begun := range r.last {
		fmt.Fprintln(out, found.session, found.version, found.recalled, int64(begun))
	}
	fmt.Fprintln(out, "end", r.lookups, r.hits)
	_ = out.Flush() // without the last line, the other side knows
}
