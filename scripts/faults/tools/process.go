package tools

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// listProcesses returns all processes except the dead ones that still wait for their parent.
func listProcesses() []process {
	var processes []process
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		folder := filepath.Dir(file)
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // the process has just ended
		}
		title, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		// The name in parentheses may hold any character, parentheses too, as in "1234 (postgres) S 1200
		// ...".
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if err != nil || len(fields) < 2 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(folder))
		parent, _ := strconv.Atoi(string(fields[1]))
		processes = append(processes,
			process{pid, parent, string(bytes.ReplaceAll(title, []byte{0}, []byte{' '}))})
	}
	return processes
}

// poll waits until a condition holds.
func poll(ctx context.Context, patience time.Duration, what string, holds func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := holds(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w: %w", what, context.Cause(ctx), err)
		case <-time.After(5 * glance):
		}
	}
}
